"""A LightningModule that fits a noisy function of two variables, with a data module of its own."""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import rungwise as rw
from rungwise.lightning import SearchCallback


class Surface(L.LightningDataModule):
    """Points in a square, and the height of a wavy surface over them."""

    def __init__(self, batch_size=32):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage=None):
        generator = torch.Generator().manual_seed(0)
        x = 4 * torch.rand(700, 2, generator=generator) - 2
        y = torch.sin(2 * x[:, :1]) * torch.cos(x[:, 1:]) + 0.1 * torch.randn(700, 1, generator=generator)
        self.parts = [TensorDataset(x[rows], y[rows]) for rows in (slice(0, 400), slice(400, 500), slice(500, 700))]

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=100)


class Regressor(L.LightningModule):
    def __init__(self, width=32, lr=1e-3, dropout=0.0):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(2, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.trainer.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def fit(config, run):
    search = SearchCallback(run)
    model = Regressor(width=config["width"], lr=config["lr"], dropout=config["dropout"])
    trainer = L.Trainer(
        max_epochs=run.num_epochs, callbacks=[search], accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, datamodule=Surface(config["batch_size"]), ckpt_path=search.ckpt_path)
    return model


@torch.no_grad()
def predict(model):
    """The heights of the points for testing, and those of the model."""
    data = Surface()
    data.setup()
    x, y = data.parts[2].tensors
    return {"y_true": y, "y_pred": model.eval().net(x)}


def suggest(trial):
    return BASELINE | {"lr": trial.suggest_float("lr", 1e-4, 0.1, log=True)}


BASELINE = {"width": 32, "lr": 0.003, "dropout": 0.0, "batch_size": 32}
test = lambda model, run: rw.Predictions(**predict(model))
SPACE = rw.Space(suggest=suggest, train=fit, test=test, baseline={"lr": 0.003}, metric="val_loss", direction="minimize", epochs=9)
