"""Users on the account page: admins add, sign in and remove them."""

from dataclasses import replace

from tests.support.dashboard_bed import DashboardBed, find_card
from tests.support.pages import Page, Visitor
from tests.support.stores import snapshot


def test_an_admin_adds_and_removes_users(dashboard: DashboardBed) -> None:
    admin = dashboard.visit()
    page = admin.get("/account/").submit("Add the user", name="ann", is_admin="1")
    assert (page.status, page.headers["cache-control"]) == (201, "no-store")
    link = page.copies["Copy link"]
    assert link.startswith(f"{dashboard.url}/sign-in/link/") and link not in admin.get("/account/").html
    ann = Visitor(dashboard.url)
    ann.sign_in_by_link(link.split("/")[-2])
    assert "Admin: sees and does everything." in ann.get("/account/").text
    again = admin.get("/account/").submit("Add the user", name="ann")
    assert (again.status, again.alert) == (409, "Not done: there is a user 'ann' already, or another one has this key")
    assert admin.get("/account/").submit("Add the user", name="a b").status == 400
    by_link = Visitor(dashboard.url)
    by_link.sign_in_by_link(_of_user(admin, "Sign-in link", "ann").copies["Copy link"].split("/")[-2])
    dashboard.bed.sync(replace(snapshot("web"), owner="ann"))
    removed = _of_user(admin, "Remove", "ann")
    assert "Services still have the label tutum.owner with this name." in removed.alert
    assert ann.get("/").path == by_link.get("/").path == "/sign-in/"
    told = admin.get("/audit/").text
    assert "user added ann, an admin" in told and "user removed ann" in told


def test_nobody_removes_the_last_admin_or_unknowingly_themselves(dashboard: DashboardBed) -> None:
    root = dashboard.visit()
    assert _of_user(root, "Remove", "admin").alert.startswith("The user is removed")
    page = root.get("/account/")
    assert "The last admin cannot be removed: add another admin first." in find_card(page, "Users").text
    assert not page.find("button", "Remove root")
    last = root.post("/account/user/remove/", {"csrf": page.form("Sign out").csrf, "user": "root"})
    assert (last.status, "'root' is the last admin" in last.alert) == (409, True)
    dashboard.visit("eve")
    assert "This is you: you are signed out at once" in find_card(root.get("/account/"), "Users").text
    assert _of_user(root, "Remove", "root").path.startswith("/sign-in/")


def test_only_admins_change_users(dashboard: DashboardBed) -> None:
    dashboard.bed.sync(replace(snapshot("web"), stack="shop"))
    member, narrow = dashboard.visit("bob", is_admin=False), dashboard.visit("root", stack="shop")
    for visitor in (member, narrow):
        page = visitor.get("/account/")
        assert not page.find("button", "Add the user")
        for path, fields in (("", {"name": "x"}), ("link/", {"user": "admin"}), ("remove/", {"user": "admin"})):
            sent = visitor.post(f"/account/user/{path}", {"csrf": page.form("Sign out").csrf, **fields})
            assert sent.status == 403
    assert {user.name for user in dashboard.bed.store.users()} == {"admin", "bob", "root"}


def _of_user(visitor: Visitor, button: str, name: str) -> Page:
    """Press a button beside a user."""
    page = visitor.get("/account/")
    (users,) = page.find("section", id="users")
    label = f"Remove {name}" if button == "Remove" else button
    (row,) = (each for each in users.find("div", class_="row") if each.find("h3") and each.text.startswith(f"{name} "))
    return page.submit(label, within=row)
