"""Tune a transformer by Hugging Face's Trainer: which of two signs is there more often?

    pip install 'spot-dask[huggingface]'
    spot-dask run huggingface.py

Nothing is downloaded: the model is made from a configuration, the data by a formula.
"""

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from spot_dask import Budget, HuggingFaceTask, Integer, Real, Space, Study


class Signs(torch.utils.data.Dataset):
    def __init__(self, count, seed):
        draws = torch.Generator().manual_seed(seed)
        self.signs = torch.randint(0, 2, (count, 11), generator=draws)

    def __len__(self):
        return len(self.signs)

    def __getitem__(self, i):
        return {"input_ids": self.signs[i], "labels": int(self.signs[i].sum() > 5)}


def accuracy(predicted):
    hits = predicted.predictions.argmax(-1) == predicted.label_ids
    return {"accuracy": float(hits.mean())}


def trainer(cfg, args):
    config = BertConfig(
        vocab_size=2, hidden_size=cfg.width, intermediate_size=2 * cfg.width,
        num_hidden_layers=cfg.layers, num_attention_heads=2, max_position_embeddings=16,
    )  # fmt: skip
    return Trainer(
        BertForSequenceClassification(config),
        TrainingArguments(
            **args, learning_rate=cfg.lr, warmup_steps=cfg.warmup, per_device_train_batch_size=32
        ),
        train_dataset=Signs(512, seed=0),
        eval_dataset=Signs(256, seed=1),
        compute_metrics=accuracy,
    )


space = Space(
    lr=Real(1e-4, 3e-2, scale="log", default=1e-3),
    warmup=Integer(0, 16, default=0),
    layers=Integer(1, 2, default=1),
    width=Integer(4, 32, scale="power2", default=8),
)
task = HuggingFaceTask(trainer, epochs=3)
study = Study(space, task, name="huggingface", seed=1, budget=Budget(evaluations=20))
