"""cluster.yaml against Ray's own schema, and what the schema does not see."""

from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parents[1] / "cluster.yaml"


@pytest.fixture
def cluster() -> dict:
    return yaml.safe_load(FILE.read_text())


def check(cluster: dict) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_ray_accepts_the_cluster_file(cluster):
    check(cluster)


def test_rays_check_sees_a_wrong_file(cluster):
    cluster["available_node_types"]["cpu"]["min_worker"] = 1
    with pytest.raises(Exception, match="min_worker"):
        check(cluster)


def test_groups_are_as_promised(cluster):
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert all(kind.get("max_workers", 0) <= cluster["max_workers"] for kind in types.values())
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert all(kind["node_config"]["IamInstanceProfile"] for kind in types.values()), "access by role, never by keys"
    assert "AWS_SECRET" not in FILE.read_text()


def test_every_node_asks_for_the_token(cluster):
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        assert all("RAY_AUTH_MODE=token" in command for command in commands if "ray start" in command)
