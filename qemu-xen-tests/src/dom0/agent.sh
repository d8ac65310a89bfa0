#!/bin/bash
# Runs commands for the host, over a virtio port.
#
# A request is the line `SLOT LIMIT LENGTH` and LENGTH bytes of shell script. LIMIT is in seconds, 0
# for none. The answer is the line `SLOT STATUS OUT ERR`, then OUT bytes of standard output and ERR
# bytes of standard error. Requests run beside each other; the host gives each a slot of its own.

port() {
    for device in /dev/vport*p"$1"; do
        echo "$device"
    done
}

answer() {
    local slot=$1 limit=$2 script=$3 base=/run/agent/$1
    if [ "$limit" = 0 ]; then
        bash -c "$script" > "$base.out" 2> "$base.err" < /dev/null 3<&- 9>&-
    else
        timeout -k 2 "$limit" bash -c "$script" > "$base.out" 2> "$base.err" < /dev/null 3<&- 9>&-
    fi
    local status=$?
    local size
    mapfile -t size < <(stat -c %s "$base.out" "$base.err")
    flock 9
    {
        echo "$slot $status ${size[0]} ${size[1]}"
        cat "$base.out" "$base.err"
    } >&3
}

# The shell port: the line `ROWS COLUMNS TERM` asks for a shell on a terminal of that size. The shell's
# end is marked, as the host cannot see it otherwise.
(
    shell=$(port 2)
    while true; do
        read -r rows columns term < "$shell" || sleep 0.2
        [ -n "$term" ] || continue
        TERM=$term socat "$shell",raw,echo=0 \
            EXEC:"bash /usr/lib/xenios/shell.sh $rows $columns",pty,ctty,stderr,setsid
        printf '\e]xenios-end\a' > "$shell"
        term=
    done
) > /dev/null 2>&1 < /dev/null &

exec 3<> "$(port 1)" 9> /run/agent/lock
echo "ready" >&3
while read -r slot limit length <&3; do
    IFS= read -r -N "$length" -u 3 script
    # A lock belongs to an opened file: each answer opens its own.
    answer "$slot" "$limit" "$script" 9> /run/agent/lock &
done
