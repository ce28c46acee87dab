"""Write the secrets of docker-compose.yml: `python deploy/make_secrets.py shop`.

`secrets/` then has the users of Valkey, the URL with the password of the namespace's user, and a login for the
dashboard. What is there already stays: a second call changes nothing.
"""

import argparse
import hashlib
import secrets
from pathlib import Path

from redisflow import acl_rule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespace")
    parser.add_argument("--folder", type=Path, default=Path("secrets"))
    parser.add_argument("--host", default="valkey:6379")
    given = parser.parse_args()
    # Others on this machine cannot enter the folder. The files can be read by the users that the containers run as.
    given.folder.mkdir(mode=0o700, exist_ok=True)
    if given.folder.stat().st_mode & 0o077:
        parser.error(f"others may look into {given.folder}: chmod 700 {given.folder}, or name another --folder")
    password = secrets.token_urlsafe(32)
    hashed = hashlib.sha256(password.encode()).hexdigest()
    users = [
        "user default off",
        f"user {given.namespace} on #{hashed} {acl_rule(given.namespace)}",
        "user health on nopass resetkeys resetchannels -@all +ping",
    ]
    if (given.folder / "valkey_users.acl").exists():
        print(f"{given.folder} is there already")
        return
    write(given.folder / "valkey_users.acl", "\n".join(users) + "\n")
    write(given.folder / "REDISFLOW_URL", f"redis://{given.namespace}:{password}@{given.host}/0")
    login = f"basic:admin:{secrets.token_urlsafe(18)}"
    write(given.folder / "REDISFLOW_DASHBOARD_AUTH", login)
    print(f"Keep {given.folder} out of the repository. The login is in {given.folder}/REDISFLOW_DASHBOARD_AUTH")


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


main()
