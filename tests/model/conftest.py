import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of these tests are too small to share between threads; more only wait for each other."""
    torch.set_num_threads(1)
