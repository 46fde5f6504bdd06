"""What a model makes of a row, as one vector: the mean of its last hidden states.

The student's own states are what selection measures distances by: two rows that it cannot tell
apart teach it the same. No further model is needed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.logits import batch_by_length
from trainers.rows import TokenRow, collate


def embed_rows(
    model: Any,
    rows: Sequence[TokenRow],
    on_progress: Callable[[int], None] = lambda rows: None,
) -> NDArray[np.float32]:
    """The mean last hidden state of each row, prompt and completion [N, D], in the rows' order;
    `on_progress` hears of each row that is done."""
    vectors_ND = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
    for batch in batch_by_length([len(row.input_ids) for row in rows]):
        inputs = collate([rows[i] for i in batch], pad_id=0)
        mask_BT = inputs["attention_mask"].to(model.device)
        with torch.inference_mode():
            states_BTD = model.base_model(
                input_ids=inputs["input_ids"].to(model.device),
                attention_mask=mask_BT,
                use_cache=False,
            ).last_hidden_state.float()
            sums_BD = (states_BTD * mask_BT.unsqueeze(-1)).sum(dim=1)
            means_BD = sums_BD / mask_BT.sum(dim=1, keepdim=True)
        vectors_ND[batch] = means_BD.cpu().numpy()
        on_progress(len(batch))
    return vectors_ND
