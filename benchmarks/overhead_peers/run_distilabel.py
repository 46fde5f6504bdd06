"""distilabel: a pipeline of a generator step and `TextGeneration`, a batch for each 64 prompts."""

import openai  # noqa: F401 - the model imports it when loaded, which is not to be counted
from chain import IN_FLIGHT, MAX_TOKENS, TEMPERATURE, read_chain, take_cost
from distilabel.models import OpenAILLM  # pyright: ignore[reportMissingImports]
from distilabel.pipeline import Pipeline  # pyright: ignore[reportMissingImports]
from distilabel.steps import LoadDataFromDicts  # pyright: ignore[reportMissingImports]
from distilabel.steps.tasks import TextGeneration  # pyright: ignore[reportMissingImports]


def main() -> None:
    chain = read_chain()
    answers: list[str] = []
    with Pipeline("chain") as pipeline:
        load = LoadDataFromDicts(
            data=[{"instruction": prompt} for prompt in chain.prompts], batch_size=IN_FLIGHT
        )
        model = OpenAILLM(
            model=chain.model,
            base_url=chain.url,
            api_key="none",
            generation_kwargs={"temperature": TEMPERATURE, "max_new_tokens": MAX_TOKENS},
        )
        load.connect(TextGeneration(llm=model, input_batch_size=IN_FLIGHT))
    with take_cost("distilabel", answers, chain.prompts):
        rows = pipeline.run(use_cache=False)["default"]["train"]
        answers += rows["generation"]


if __name__ == "__main__":
    main()
