"""Fine-tunes a tiny, randomly initialised transformer with LoRA by the Hugging Face Trainer, on made-up sentences."""

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

VOCABULARY, LENGTH = 60, 16


class Sentences(torch.utils.data.Dataset):
    """Random tokens; the class says whether those of the first half of the vocabulary prevail."""

    def __init__(self, count, seed):
        random = np.random.default_rng(seed)
        self.tokens = random.integers(1, VOCABULARY, (count, LENGTH))
        self.labels = ((self.tokens < VOCABULARY // 2).mean(1) > 0.5).astype(int)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        tokens = torch.tensor(self.tokens[i])
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": int(self.labels[i])}


def make_model(rank, alpha, dropout):
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=LENGTH, num_labels=2,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=["query", "value"]
    )
    return get_peft_model(model, lora)


def compute_metrics(predictions):
    logits, labels = predictions
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


def main(config, epochs=6, folder="checkpoints"):
    model = make_model(config["rank"], config["alpha"], config["dropout"])
    args = TrainingArguments(
        output_dir=str(folder), num_train_epochs=epochs, learning_rate=config["lr"], use_cpu=True,
        per_device_train_batch_size=32, per_device_eval_batch_size=64, eval_strategy="epoch", save_strategy="no",
        report_to=[], disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=args, train_dataset=Sentences(192, seed=0), eval_dataset=Sentences(128, seed=1),
        compute_metrics=compute_metrics,
    )  # fmt: skip
    trainer.train()
    return model


@torch.no_grad()
def predict(model):
    """The classes of the sentences for testing, and the logits of the model."""
    sentences = Sentences(200, seed=2)
    return {"y_true": sentences.labels, "y_score": model.eval()(torch.tensor(sentences.tokens)).logits}


if __name__ == "__main__":
    answers = predict(main({"rank": 4, "alpha": 8, "dropout": 0.0, "lr": 1e-2}))
    print(f"test accuracy: {(answers['y_score'].argmax(-1).numpy() == answers['y_true']).mean():.3f}")
