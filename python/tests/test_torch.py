"""hardneg.torch against autograd of the plain formula."""

import warnings

import numpy as np
import pytest

import hardneg

torch = pytest.importorskip("torch", reason="PyTorch is not installed: hardneg.torch is NOT TESTED")
hardneg_torch = pytest.importorskip("hardneg.torch")
ModifiedTripletLoss = hardneg_torch.ModifiedTripletLoss

RULES = ["below", "at-or-below", "any"]


def plain_loss(anchors, positives, margin=0.25, rule="below", reduction="sum", labels=None):
    """The definition, in the type of the tensors."""
    a, p = (torch.nn.functional.normalize(rows, dim=1) for rows in (anchors, positives))
    s = a @ p.T
    own = s.diagonal()
    negative = ~torch.eye(len(s), dtype=torch.bool)
    if labels is not None:
        negative &= labels[:, None] != labels[None, :]
    count = negative.sum(1)
    mean = torch.where(negative, s, 0).sum(1) / count.clamp(min=1)
    limit = own.detach()[:, None]
    allowed = {"below": s < limit, "at-or-below": s <= limit, "any": torch.ones_like(negative)}[rule] & negative
    closest = s.masked_fill(~allowed, -torch.inf).max(1).values
    terms = torch.relu(mean - own + margin) * (count > 0)
    terms = terms + torch.where(allowed.any(1), torch.relu(closest - own + margin), 0)
    return getattr(terms, reduction)()


def rows(count, dim, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.randn(count, dim, generator=generator, dtype=dtype)
    return anchors.requires_grad_(), (anchors.detach() + torch.randn(count, dim, generator=generator)).requires_grad_()


def as_double(tensors):
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("with_labels", [False, True])
def test_values_and_gradients(rule, reduction, with_labels):
    pair = rows(50, 24, 1)
    labels = torch.arange(50) % 9 if with_labels else None
    loss = ModifiedTripletLoss(0.4, rule, reduction)(*pair, labels)
    expected_rows = as_double(pair)
    expected = plain_loss(*expected_rows, 0.4, rule, reduction, labels)
    assert loss.dtype == torch.float32 and loss.shape == ()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    (loss * 3).backward()
    (expected * 3).backward()
    for own, other in zip(pair, expected_rows):
        torch.testing.assert_close(own.grad.double(), other.grad, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_numpy():
    pair = rows(30, 16, 2)
    expected = hardneg.triplet_loss_and_gradients(*(tensor.detach().numpy() for tensor in pair))
    loss = ModifiedTripletLoss()(*pair)
    loss.backward()
    assert loss.item() == np.float32(expected.loss)
    np.testing.assert_array_equal(pair[0].grad.numpy(), expected.anchor_gradients)
    np.testing.assert_array_equal(pair[1].grad.numpy(), expected.positive_gradients)


def test_further_negatives():
    pair, further = rows(30, 16, 14), rows(20, 16, 15)[0]
    loss = ModifiedTripletLoss(0.5)(*pair, further=further)
    loss.backward()
    candidates = np.concatenate([pair[1].detach().numpy(), further.detach().numpy()])
    own = pair[0].detach().numpy()
    expected = hardneg.triplet_loss_and_gradients(own, np.arange(30), candidates=candidates, margin=0.5)
    assert loss.item() == np.float32(expected.loss)
    np.testing.assert_array_equal(pair[0].grad.numpy(), expected.anchor_gradients)
    both = np.concatenate([pair[1].grad.numpy(), further.grad.numpy()])
    np.testing.assert_array_equal(both, expected.candidate_gradients)


def test_gradients_of_one_side_and_of_none():
    anchors, positives = rows(20, 8, 3)
    ModifiedTripletLoss()(anchors, positives.detach()).backward()
    assert anchors.grad.abs().sum() > 0 and positives.grad is None
    with torch.no_grad():
        assert not ModifiedTripletLoss()(anchors, positives).requires_grad
    assert not ModifiedTripletLoss()(anchors.detach(), positives.detach()).requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types(dtype):
    pair = [tensor.detach().to(dtype).requires_grad_() for tensor in rows(20, 8, 4)]
    loss = ModifiedTripletLoss()(*pair)
    loss.backward()
    assert pair[0].grad.dtype == dtype
    same = ModifiedTripletLoss()(*(tensor.detach().float() for tensor in pair))
    assert loss.item() == same.item()


def test_tensors_that_are_not_contiguous():
    anchors, positives = (tensor.detach() for tensor in rows(20, 8, 5))
    expected = ModifiedTripletLoss()(anchors, positives)
    turned = anchors.T.contiguous().T.requires_grad_()
    loss = ModifiedTripletLoss()(turned, positives)
    loss.backward()
    assert loss.item() == expected.item() and turned.grad.shape == (20, 8)


@pytest.mark.parametrize("with_gradients", [False, True])
@pytest.mark.parametrize("labels", [None, torch.arange(12) % 5])
def test_opcheck(with_gradients, labels):
    pair = rows(12, 6, 6) if with_gradients else [tensor.detach() for tensor in rows(12, 6, 6)]
    arguments = (*pair, labels, 0.25, "below", "sum", 1, with_gradients)
    torch.library.opcheck(torch.ops.hardneg.triplet_loss.default, arguments)


def test_opcheck_of_the_backward_pass():
    pair = [tensor.detach() for tensor in rows(12, 6, 7)]
    torch.library.opcheck(torch.ops.hardneg.triplet_loss_backward.default, (torch.tensor(2.0), *pair, *pair))


def test_compile():
    loss = ModifiedTripletLoss(0.4)

    def step(anchors, positives):
        return loss(anchors * 2, torch.tanh(positives)) * 0.5

    # Any backend but "inductor" needs no compiler; this one runs the graph that autograd has traced.
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for count in (20, 33):
        own, other = rows(count, 8, 8), rows(count, 8, 8)
        one, two = compiled(*own), step(*other)
        one.backward()
        two.backward()
        assert one.item() == two.item()
        for a, b in zip(own, other):
            torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)


def test_double_backward_is_refused():
    anchors, positives = rows(20, 8, 9)
    loss = ModifiedTripletLoss()(anchors, positives)
    (gradient,) = torch.autograd.grad(loss, anchors, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        (gradient.square().sum() + anchors.sum()).backward()


def test_tensors_elsewhere_are_refused():
    anchors, positives = (tensor.detach() for tensor in rows(4, 4, 10))
    with pytest.raises(ValueError, match=r"computes on the CPU, and got a tensor on meta: move .*\.cpu\(\)"):
        ModifiedTripletLoss()(anchors.to("meta"), positives)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: a GPU's tensors are NOT TESTED")
def test_tensors_of_a_gpu():
    anchors, positives = (tensor.detach().cuda().requires_grad_() for tensor in rows(20, 8, 11))
    with pytest.raises(ValueError, match=r"got a tensor on cuda:0"):
        ModifiedTripletLoss()(anchors, positives)
    ModifiedTripletLoss()(anchors.cpu(), positives.cpu()).backward()
    assert anchors.grad.device.type == "cuda" and anchors.grad.abs().sum() > 0


def test_bad_options():
    for options in ({"negatives": "above"}, {"reduction": "none"}, {"threads": 0}):
        with pytest.raises(ValueError):
            ModifiedTripletLoss(**options)
    with pytest.raises(ValueError, match="positives: expected"):
        ModifiedTripletLoss()(torch.randn(3, 4), torch.randn(4, 4))
    assert repr(ModifiedTripletLoss()) == "ModifiedTripletLoss(margin=0.25, negatives='below', reduction='sum')"


def test_training_lowers_the_loss():
    anchors, positives = rows(64, 16, 12)
    layer = torch.nn.Linear(16, 8)
    optimizer, loss = torch.optim.Adam(layer.parameters(), 0.01), ModifiedTripletLoss(reduction="mean")
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(loss(layer(anchors.detach()), layer(positives.detach())))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_saving_a_module():
    import io

    memory = io.BytesIO()
    torch.save(ModifiedTripletLoss(0.5, "any"), memory)
    memory.seek(0)
    assert torch.load(memory, weights_only=False).margin == 0.5


@pytest.fixture
def miner():
    reason = "pytorch-metric-learning is not installed: HardestNegatives is NOT TESTED"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pytorch_metric_learning", reason=reason)
    return hardneg_torch.HardestNegatives


@pytest.mark.parametrize("rule", RULES)
def test_the_miner(miner, rule):
    embeddings, labels = torch.randn(60, 12, generator=torch.Generator().manual_seed(13)), torch.arange(60) % 7
    a, p, n = miner(negatives=rule)(embeddings, labels)
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)
    s = unit @ unit.T
    found = {(int(i), int(j)): int(k) for i, j, k in zip(a, p, n)}
    for i in range(60):
        for j in range(60):
            if labels[i] != labels[j] or i == j:
                assert (i, j) not in found
                continue
            qualifies = labels != labels[i]
            if rule == "below":
                qualifies = qualifies & (s[i] < s[i, j])
            elif rule == "at-or-below":
                qualifies = qualifies & (s[i] <= s[i, j])
            best = s[i].masked_fill(~qualifies, -2)
            assert found.get((i, j), -1) == (int(best.argmax()) if qualifies.any() else -1)


def test_the_miner_with_a_loss_of_the_library(miner):
    from pytorch_metric_learning import losses

    embeddings = torch.randn(40, 12, requires_grad=True)
    labels = torch.arange(40) % 8
    loss = losses.TripletMarginLoss()(embeddings, labels, miner(k=2)(embeddings, labels))
    loss.backward()
    assert embeddings.grad.abs().sum() > 0
    references = torch.randn(30, 12)
    a, p, n = miner()(embeddings, labels, references, torch.arange(30) % 8)
    assert len(a) == len(p) == len(n) > 0 and int(n.max()) < 30
    with pytest.raises(TypeError, match="no option temperature"):
        miner(temperature=1)
    assert len(miner()(embeddings, torch.arange(40))[0]) == 0
