"""Networks of the registry against other people's, with the same random weights."""

import dataclasses

import pytest

from msk_jax.models.registry import architecture

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")

# One or two members of every family; of those not named here narrow ones are compared, in tests of
# their own. `msk-jax parity --all` compares them all.
FORWARD = [
    "resnet18",
    "resnet50",
    "resnet50_os8",
    "vit_small_patch32",
    "deeplabv3_resnet50",
    "inception_v3",
    "inception_resnet_v2",
    "swin_t",
    "pix2pix_discriminator",
    "autoencoder",
    "efficientnet_b0",
]
BACKWARD = ["pix2pix_discriminator", "autoencoder"]


@pytest.fixture(scope="module")
def pair(need):
    """`pair(name)`: a network and its reference, made once."""
    made = {}

    def make(name):
        if name not in made:
            entry = architecture(name)
            need("torchvision", entry.reference.split(".")[0])
            made.clear()
            made[name] = compare.make_pair(entry, entry.small)
        return made[name]

    return make


@pytest.mark.parametrize("name", FORWARD)
def test_every_endpoint_and_the_logits(pair, name):
    entry = architecture(name)
    errors = compare.forward_errors(pair(name), entry.small)
    assert set(errors) >= {"logits", *entry.endpoints}
    assert max(errors.values()) < entry.tolerance, errors


@pytest.mark.parametrize("name", BACKWARD)
def test_loss_gradients_and_running_statistics_in_double_precision(pair, name):
    batch = 1 if name.startswith("pix2pix") else 2
    errors = compare.training_errors(pair(name), architecture(name).small, batch)
    assert errors["loss"] < 1e-11
    assert errors["gradients"] < 1e-8
    assert errors["statistics"] < 1e-11


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_timm_calls_resnets_as_torchvision_does(need, name):
    need("torchvision", "timm")
    from msk_jax.parity.references import build_reference

    entry = architecture(name)
    assert entry.known_namings["timm"] == entry.known_namings["torchvision"]
    timms = dataclasses.replace(entry, reference=f"timm.models.resnet.{name}")
    with torch.device("meta"):
        theirs, ours = (build_reference(e).state_dict() for e in (timms, entry))
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}
