from jobs.sidecars import Group, group_files, split_role


def test_files_of_one_name_belong_together():
    keys = ["b.png", "a/x.jpg", "a/x.mask.png", "a/x.truth.jpg", "a/x.alpha.png", "a/x.json", "b.txt"]
    assert group_files(keys) == [
        Group("a/x.jpg", {"alpha": "a/x.alpha.png", "mask": "a/x.mask.png", "truth": "a/x.truth.jpg"}, "a/x.json"),
        Group("b.png"),
    ]


def test_a_role_without_its_image_is_an_image():
    assert group_files(["lonely.mask.png", "me.truth.png"]) == [Group("lonely.mask.png"), Group("me.truth.png")]


def test_only_known_roles_are_split_off():
    assert split_role("a.b/x.mask") == ("a.b/x", "mask")
    assert split_role("x.final") == ("x.final", "")
    assert split_role(".mask") == (".mask", "")
