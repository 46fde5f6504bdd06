"""What `tutelage inspect RUN` opens: a run's files as a database, and pages that show it.

`database` builds `viewer.db` out of the committed files (`sources` reads them, `board` sums them up
for the dashboard). `browsing`, `subjects` and `lineage` ask it, `pages` turns what they say into
HTML, and `plugin` puts the pages in front of Datasette, which serves them on this machine alone
(`serving`, `guard`). `acts` carries out what a person decides about a row.
"""
