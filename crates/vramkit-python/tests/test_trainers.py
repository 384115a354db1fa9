"""The trainers' callbacks in the trainers themselves; skipped where they are not installed (`scripts/check-torch` has them)."""

from __future__ import annotations

import pytest

import vramkit

torch = pytest.importorskip("torch")


def test_hugging_faces_trainer_logs_steps(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    device = vramkit.SimulatedDevice("8GiB")
    pool = vramkit.get_memory_pool(device)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x):
            pool.release(pool.allocate(20))
            return {"loss": self.layer(x).pow(2).mean()}

    data = [{"x": torch.randn(4)} for _ in range(16)]
    callback = vramkit.trainer.hugging_face(device)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=4, logging_steps=2, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    trainer = transformers.Trainer(model=Model(), args=arguments, train_dataset=data, callbacks=[callback])
    trainer.train()
    steps = [entry["vramkit/step_peak_bytes"] for entry in trainer.state.log_history if "loss" in entry]
    assert steps == [20 << 20] * 4
    assert [each.event for each in callback.memory.monitor.history()] == ["training begins", "epoch ends", "epoch ends", "training ends"]


def test_lightning_logs_steps():
    lightning = pytest.importorskip("lightning")
    device = vramkit.SimulatedDevice("8GiB")
    pool = vramkit.get_memory_pool(device)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, _):
            pool.release(pool.allocate(20))
            return self.layer(batch[0]).pow(2).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    callback = vramkit.trainer.lightning(device)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(16, 4)), batch_size=4)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.fit(Module(), data)
    assert trainer.logged_metrics["vramkit/step_peak_bytes"] == 20 << 20
    assert [each.event for each in callback.memory.monitor.history()] == ["training begins", "epoch ends", "epoch ends", "training ends"]
