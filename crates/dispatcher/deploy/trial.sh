#!/bin/sh
# Tries the unit under a real systemd, in a Debian of its own: debootstrap makes it, systemd-nspawn boots it, without a network.
#
#     sudo crates/dispatcher/deploy/trial.sh target/release/dispatcher /var/tmp/trial
#
# The second is a folder for that Debian, made when it is missing and used again. Ends with 0 if everything held.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

outside() {
    program=$1 root=$2
    if [ ! -e "$root/.made" ]; then
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libnss-systemd bookworm "$root"
        touch "$root/.made"
    fi
    rm -rf "$root/etc/dispatcher" "$root/var/lib/dispatcher" "$root/var/lib/private/dispatcher" "$root/trial.log"
    rm -rf "$root/etc/systemd/system/dispatcher.service.d"
    mkdir -p "$root/etc/dispatcher" "$root/etc/systemd/system/multi-user.target.wants"
    install -m 755 "$program" "$root/usr/local/bin/dispatcher"
    install -m 755 "$here/trial.sh" "$root/usr/local/bin/trial"
    # As the comment in the unit says.
    sed 's/^# LoadCredential=/LoadCredential=/' "$here/dispatcher.service" >"$root/etc/systemd/system/dispatcher.service"
    (umask 077 && printf trial >"$root/etc/dispatcher/token" && echo NAME=main >"$root/etc/dispatcher/environment")
    configuration >"$root/etc/dispatcher/dispatcher.toml"
    cat >"$root/etc/systemd/system/trial.service" <<'UNIT'
[Unit]
Description=The trial
After=multi-user.target
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/usr/local/bin/trial inside
StandardOutput=file:/trial.log
StandardError=inherit
UNIT
    ln -sf ../trial.service "$root/etc/systemd/system/multi-user.target.wants/trial.service"
    timeout 600 systemd-nspawn --quiet --directory "$root" --boot --register=no --keep-unit --private-network \
        </dev/null >"$root/boot.log" 2>&1 || true
    cat "$root/trial.log"
    grep -q '^everything held$' "$root/trial.log"
}

configuration() {
    cat <<'TOML'
[intake]
listen = "127.0.0.1:8080"
linger = "5s"
[[apps]]
sdk_app_id = 1400000001
name = "${NAME}"
tokens = [{ file = "${CREDENTIALS_DIRECTORY}/token" }]
[journal]
path = "data/journal.db"
[observe]
listen = "127.0.0.1:9090"
[handlers.everything]
type = "forward"
sinks = ["archive"]
[sinks.archive]
type = "file"
path = "data/events.jsonl"
rotate_size = "1KiB"
keep = 3
TOML
}

config=/etc/dispatcher/dispatcher.toml

must() {
    what=$1 && shift
    if "$@" >/tmp/said 2>&1; then
        echo "ok: $what"
    else
        echo "NOT: $what ($*): $(cat /tmp/said)"
        systemctl status dispatcher --no-pager --full || true
        exit 1
    fi
}

refuses() { ! "$@"; }
shows() { systemctl show dispatcher -p "$1" --value | grep -qx -- "$2"; }
says() { pattern=$1 && shift && "$@" 2>&1 | tee /tmp/all | grep -q -- "$pattern" || { cat /tmp/all && false; }; }
of_process() { grep -q -- "$1" "/proc/$(systemctl show dispatcher -p MainPID --value)/status"; }
ask() { (cd /var/lib/dispatcher && dispatcher "$@" --config "$config"); }
call() { dispatcher send "$1" --url http://127.0.0.1:8080/callback --app 1400000001 --token trial; }
logged() { says "$1" journalctl --unit dispatcher --output cat --no-pager; }
# Within a minute.
comes() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    "$@"
}
private() {
    owner=$(stat -c %u /var/lib/private/dispatcher)
    test "$owner" != 0 && test "$(stat -c %a /var/lib/private/dispatcher)" = 700 &&
        refuses says . find /var/lib/private/dispatcher -not -user "$owner" &&
        refuses says . find /var/lib/private/dispatcher -type f -perm /077
}
# With everything that the unit hands over, and as its user.
as_the_unit() {
    systemd-run --quiet --collect --pipe --wait -p User=dispatcher -p DynamicUser=yes -p StateDirectory=dispatcher \
        -p StateDirectoryMode=0700 -p UMask=0077 -p WorkingDirectory=/var/lib/dispatcher \
        -p EnvironmentFile=-/etc/dispatcher/environment -p LoadCredential=token:/etc/dispatcher/token "$@"
}
# With the same, but as root.
as_root() {
    (cd /var/lib/dispatcher && NAME=main CREDENTIALS_DIRECTORY=/etc/dispatcher dispatcher "$@" --config "$config")
}
# One callback after the other, until one is not answered: then nobody listens any more.
load() {
    while said=$(call Group.CallbackAfterGroupFull 2>&1); do echo answered; done
    echo "$said"
}

inside() {
    must "the unit is well formed" systemd-analyze verify /etc/systemd/system/dispatcher.service
    must "it starts" systemctl start dispatcher
    must "it is ready when that returns" says OK call Group.CallbackAfterGroupFull
    must "a callback that wants a decision is answered" says OK call C2C.CallbackBeforeSendMsg
    must "systemd shows what it does" shows StatusText 'answering callbacks at 127.0.0.1:8080'
    must "its user is not root" refuses of_process '^Uid:[[:space:]]*0[[:space:]]'
    must "it has no capabilities" of_process '^CapBnd:[[:space:]]*0*$'
    must "it gets no new rights" of_process '^NoNewPrivs:[[:space:]]*1$'
    must "its system calls are filtered" of_process '^Seccomp:[[:space:]]*2$'
    must "its log is JSON in the system's" logged '"message":"started"'
    must "root asks it" says 'runs as process' ask status
    must "what an operator did is written down" ask sinks pause archive
    must "and undone" ask sinks resume archive
    must "in the audit file" grep -q '"pause' /var/lib/dispatcher/data/audit.jsonl
    for _ in 1 2 3 4; do call Group.CallbackAfterGroupFull >/dev/null; done
    must "the file sink sets files aside" comes test -e /var/lib/dispatcher/data/events.jsonl.2
    must "its folder and files are its own" private
    must "the configuration is checked as the unit sees it" as_the_unit dispatcher check --config "$config"

    sed -i 's/^linger.*/&\nbody_limit = "2MiB"/' "$config"
    must "it reloads" systemctl reload dispatcher
    must "and says what changed" logged 'intake.body_limit'
    sed -i 's/2MiB/many/' "$config"
    must "a wrong configuration fails the reload" refuses systemctl reload dispatcher
    must "with the reason in the log" logged 'intake.body_limit: "many"'
    must "and changes nothing" says OK call Group.CallbackAfterGroupFull
    must "nor keeps root from asking" says 'runs as process' ask status
    sed -i '/^body_limit/d' "$config"

    mkdir -p /etc/systemd/system/dispatcher.service.d
    printf '[Service]\nWatchdogSec=3s\n' >/etc/systemd/system/dispatcher.service.d/trial.conf
    systemctl daemon-reload
    must "it restarts" systemctl restart dispatcher
    systemctl kill --signal STOP --kill-whom main dispatcher
    must "the watchdog starts it again when it hangs" comes shows NRestarts 1
    must "and it answers" comes call Group.CallbackAfterGroupFull

    load >/tmp/load &
    must "it is under load" comes grep -q answered /tmp/load
    before=$(grep -c answered /tmp/load)
    must "it stops" systemctl stop dispatcher
    wait
    must "by itself" shows Result success
    must "answering while it lingers" test "$(grep -c answered /tmp/load)" -gt "$((before + 1))"
    must "until nobody listens" says 'Connection refused' tail -n 1 /tmp/load

    rm -f /var/lib/dispatcher/data/events.jsonl
    must "root makes no files that its user cannot write to" says 'setpriv' as_root replay --sink archive
    must "which would keep it from starting" refuses test -e /var/lib/dispatcher/data/events.jsonl
    must "as its user, what is stored is delivered again" says ' 0 dead' \
        as_the_unit dispatcher replay --sink archive --config "$config"
    must "all is still its own" private
    must "it starts after that" systemctl start dispatcher
    must "and answers" call Group.CallbackAfterGroupFull

    echo nonsense >>"$config"
    must "with a wrong configuration it does not start" refuses systemctl restart dispatcher
    must "and is not tried again" shows ActiveState failed
    must "since a person has to" shows ExecMainStatus 78
    echo "everything held"
}

case ${1-} in
    inside) inside ;;
    '' | -*) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 2 ;;
    *) outside "$1" "${2:?a folder for the Debian}" ;;
esac
