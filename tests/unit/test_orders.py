"""Orders and customers are refused where nobody could fill or reach them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scentrt.adapters.notifications import SENDER, Letter, compose
from scentrt.config import EmailSection
from scentrt.domain.model import OrderLine
from scentrt.domain.names import CustomerName, OrderId, Sku
from scentrt.domain.orders import EMAIL_ADDRESS, MOST_LINES, Customer, Order
from scentrt.errors import InvalidCustomer, InvalidOrder, Undeliverable
from tests.goods import PINE, SEA, line


def test_an_order_has_one_line_of_each_product() -> None:
    order = Order(OrderId("o-1"), (line("o-1", 1, SEA), line("o-1", 2, PINE)))
    assert [line.qty for line in order.lines] == [1, 2]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "it has no lines"),
        ([line("o-1", 1), line("o-1", 2)], "it names SEA-BREEZE twice"),
        ([line("o-1", 1), line("o-2", 1, PINE)], "it has lines of another order"),
        ([line("o-1", 1, Sku(f"s-{n}")) for n in range(MOST_LINES + 1)], "more than 1,000 lines"),
    ],
)
def test_an_order_that_nobody_could_fill_is_refused(lines: list[OrderLine], problem: str) -> None:
    with pytest.raises(InvalidOrder, match=f"Invalid order o-1: .*{problem}"):
        Order(OrderId("o-1"), tuple(lines))


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a da@example.com",
        "ada@example.com\r\nBcc: x@y",
        "ada@example.com\n",
        "ada@home@example.com",
        "ada@example.com,eve@example.com",
        "Ada <ada@example.com>",
        "ada.@example.com",
        "ada@-.com",
        "adä@example.com",
        "=?utf-8?q?a=0d=0a?=@example.com",
        "a" * 243 + "@example.com",
    ],
)
def test_a_customer_who_cannot_be_written_to_is_refused(email: str) -> None:
    with pytest.raises(InvalidCustomer, match="Invalid customer Ada"):
        Customer(CustomerName("Ada"), "12 St James's Square", email)


@given(
    st.from_regex(EMAIL_ADDRESS, fullmatch=True)
    | st.text(alphabet="a.@-=?,<é \n").map("a{}".format)
)
def test_whoever_is_registered_or_set_to_be_written_to_can_be_written_to(email: str) -> None:
    try:
        Customer(CustomerName("Ada"), "London", email)
    except InvalidCustomer:
        with pytest.raises(Undeliverable):
            compose(Letter(email, "news", "Hello."), "e-1", SENDER)
        with pytest.raises(ValidationError, match="an address, like"):
            EmailSection(stock_team=email)
    else:
        compose(Letter(email, "news", "Hello."), "e-1", SENDER)
        EmailSection(stock_team=email, sender=email)


def test_a_customer_may_have_an_unusual_address() -> None:
    ada = Customer(CustomerName("Ada"), "London\nEngland", "ada+film@mail.example.com")
    assert ada.email == "ada+film@mail.example.com"
