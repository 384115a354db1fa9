"""With the real PyTorch, and no card: DLPack, exported graphs, and its own reader of snapshots."""

import gc

import pytest
import vramkit

torch = pytest.importorskip("torch", reason="PyTorch is not here")

MIB = 1 << 20


def test_tensors_look_into_buffers_and_keep_them():
    pool = vramkit.GPUMemoryPool("host")
    buffer = pool.allocate(1, backend="pytorch")
    tensor = buffer.array(torch.float32)
    assert tensor.shape == (MIB // 4,) and tensor.data_ptr() == buffer.ptr
    tensor.fill_(3.0)
    assert torch.from_dlpack(buffer).view(torch.float32)[7] == 3.0
    pool.release(buffer)
    assert tensor[-1] == 3.0 and pool.get_stats()["in_use_mb"] == 1
    del tensor, buffer
    gc.collect()
    assert pool.get_stats()["in_use_mb"] == 0 and pool.get_stats()["idle_blocks"] == 1


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(256, 1024), torch.nn.Linear(1024, 256)

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        return self.second(hidden.view(-1, 1024)).reshape(x.shape)


def test_the_memory_of_an_exported_model_before_it_runs():
    program = torch.export.export(Model(), (torch.zeros(64, 256),))
    tensors, weights = vramkit.torch.lifetimes(program)
    assert weights == 4 * (256 * 1024 + 1024 + 1024 * 256 + 256)
    sizes = sorted(tensor.size_bytes for tensor in tensors)
    # The first layer's output, its rectified copy, and the second layer's output; views take nothing.
    assert sizes == [64 * 256 * 4, 64 * 1024 * 4, 64 * 1024 * 4]
    plan = vramkit.torch.plan(program)
    # Two of the three are live at once at most: both of the hidden size.
    assert plan.arena_bytes == 2 * 64 * 1024 * 4 and plan.proven_optimal
    assert plan.models[0].weights_bytes == weights


def test_a_traced_graph_with_shapes():
    from torch.fx.passes.shape_prop import ShapeProp

    traced = torch.fx.symbolic_trace(Model())
    with pytest.raises(vramkit.VramkitError, match="ShapeProp"):
        vramkit.torch.lifetimes(traced)
    ShapeProp(traced).propagate(torch.zeros(64, 256))
    tensors, weights = vramkit.torch.lifetimes(traced)
    assert weights == 4 * (256 * 1024 + 1024 + 1024 * 256 + 256)
    assert sorted(tensor.size_bytes for tensor in tensors) == [64 * 256 * 4, 64 * 1024 * 4, 64 * 1024 * 4]


def test_sizes_that_depend_on_the_input_are_refused():
    program = torch.export.export(Model(), (torch.zeros(64, 256),), dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
    with pytest.raises(vramkit.VramkitError, match="a size that is not fixed"):
        vramkit.torch.lifetimes(program)


def test_without_a_card_it_is_said():
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(vramkit.DeviceUnavailableError):
        vramkit.torch.use_as_allocator()
    assert vramkit.get_memory_monitor("host").record_snapshot().allocated_bytes is not None
