"""Graphs of the kinds that people have, against what can be derived by hand. Sizes are in MiB: an input is 1."""

import pytest
import vramkit

torch = pytest.importorskip("torch", reason="PyTorch is not here")
nn = torch.nn

MIB = 1 << 20
X = torch.zeros(4, 16, 64, 64)


def made(module, *inputs, decomposed=False):
    program = torch.export.export(module.eval(), inputs or (X,))
    if decomposed:
        program = program.run_decompositions()
    tensors, _ = vramkit.torch.lifetimes(program)
    plan = vramkit.torch.plan(program)
    return [tensor.size_bytes / MIB for tensor in tensors], plan.live_peak_bytes / MIB


def module(function):
    class Module(nn.Module):
        def forward(self, *x):
            return function(*x)

    return Module()


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(
    ("function", "sizes", "peak"),
    [
        # A cast is a tensor of its own; one to the type that it has is none.
        (lambda x: (x * 2).half().float() + 1, [1, 0.5, 1, 1], 2),
        (lambda x: (x * 2).float() + 1, [1, 1], 2),
        # A view takes nothing, a copy does; a copy of an input too.
        (lambda x: (x * 2).view(-1) + 1, [1, 1], 2),
        (lambda x: (x * 2).permute(0, 2, 3, 1).contiguous() + 1, [1, 1, 1], 2),
        (lambda x: (x * 2).contiguous() + 1, [1, 1], 2),
        (lambda x: (x * 2).transpose(1, 2).reshape(-1) + 1, [1, 1, 1], 2),
        (lambda x: x.transpose(1, 2).contiguous(), [1], 1),
        # A view keeps what it looks into.
        (lambda x: (x * 2)[0] + 1, [1, 0.25], 1.25),
        # Outputs live to the end, and one that is an input takes nothing.
        (lambda x: (x * 2, x), [1], 1),
        (lambda x: (x.view(-1),), [], 0),
        # Several outputs of one operator.
        (lambda x: sum(t * 1 for t in x.chunk(4)), None, None),
    ],
)
def test_what_shares_memory(function, sizes, peak, decomposed):
    found, bound = made(module(function), decomposed=decomposed)
    if sizes is not None:
        assert (found, bound) == (sizes, peak)
    else:
        assert bound > 0


def test_in_place_is_in_the_same_place():
    def run(x):
        y = x * 2
        y.relu_()
        y.add_(1)
        return y.sum()

    sizes, peak = made(module(run))
    assert [size for size in sizes if size > 0.001] == [1] and peak == pytest.approx(1, abs=0.001)


def test_networks():
    block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.Dropout())
    sizes, peak = made(block)
    # The convolution's output and the norm's; rectified in place, and nothing is dropped.
    assert [size for size in sizes if size > 0.01] == [1, 1] and peak == pytest.approx(2, abs=0.01)


def test_grad_modes_within_a_graph_are_seen():
    def run(x):
        with torch.no_grad():
            y = x * 2
            z = y.exp()
        return z + 1

    sizes, peak = made(module(run))
    assert sizes == [1, 1, 1] and peak == 2


def test_attention():
    layer = nn.MultiheadAttention(64, 4, batch_first=True)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, x, x, need_weights=False)[0]

    x = torch.zeros(8, 512, 64)
    sizes, peak = made(Attention(), x)
    assert peak >= 3 and max(sizes) >= 1


def test_graphs_within_graphs_are_refused():
    def run(x):
        return torch.cond(x.sum() > 0, lambda x: (x * 2).exp(), lambda x: x * 3, (x,))

    program = torch.export.export(module(run), (X,))
    with pytest.raises(vramkit.VramkitError, match="has a graph of its own"):
        vramkit.torch.lifetimes(program)


def test_sizes_that_depend_on_values_are_refused():
    program = torch.export.export(module(lambda x: x.nonzero() + 1), (X,))
    with pytest.raises(vramkit.VramkitError):
        vramkit.torch.lifetimes(program)
