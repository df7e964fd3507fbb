from pathlib import Path

from redisdict.servers.programs import Program, command_line, replica_of

HOME = Path("/run/home")


def test_redis_style_flags_are_separate_words_and_arguments_come_last() -> None:
    program = Program("keydb", Path("/usr/bin/keydb-server"), "PATH")
    words = command_line(program, directory=HOME, port=15001, arguments=["--appendonly", "yes"])

    flags = dict(zip(words[1::2], words[2::2], strict=True))
    assert words[0] == "/usr/bin/keydb-server"
    assert words[-2:] == ["--appendonly", "yes"]
    assert flags["--bind"] == "127.0.0.1"
    assert flags["--port"] == "15001"
    assert flags["--save"] == ""
    assert flags["--dir"] == "/run/home"


def test_dragonfly_takes_each_flag_as_one_word_and_keeps_quiet_towards_its_makers() -> None:
    program = Program("dragonfly", Path("/opt/dragonfly"), "PATH")
    words = command_line(program, directory=HOME, port=15001, password="p w")

    assert words[0] == "/opt/dragonfly"
    assert {
        "--bind=127.0.0.1",
        "--port=15001",
        "--dir=/run/home",
        "--dbfilename=",
        "--version_check=false",
        "--requirepass=p w",
        "--lock_on_hashtags=true",
    } < set(words)
    assert not any(word.startswith(("--save", "--appendonly", "--daemonize")) for word in words)


def test_a_server_on_a_socket_has_no_port() -> None:
    program = Program("dragonfly", Path("/opt/dragonfly"), "PATH")
    words = command_line(program, directory=HOME, unix_socket=HOME / "sock")

    assert {"--port=0", "--unixsocket=/run/home/sock", "--unixsocketperm=700"} < set(words)
    assert not any(word.startswith("--bind") for word in words)


def test_a_replica_names_its_primary_in_the_dialect_of_its_program() -> None:
    keydb = Program("keydb", Path("/usr/bin/keydb-server"), "PATH")
    dragonfly = Program("dragonfly", Path("/opt/dragonfly"), "PATH")
    assert replica_of(keydb, "127.0.0.1", 15001) == ["--replicaof", "127.0.0.1", "15001"]
    assert replica_of(dragonfly, "127.0.0.1", 15001) == ["--replicaof=127.0.0.1:15001"]
