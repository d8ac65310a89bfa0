# Runs commands for the host, over a virtio port. Read by init.sh, so this is busybox's shell.
#
# A request is the line `SLOT KIND LIMIT LENGTH MARK` and LENGTH bytes of shell script. The kind is
# `quick` for a script of this very shell, which costs one fork, or `bash`. LIMIT is in seconds and
# for bash only. The answer is: the line `SLOT`, standard output, MARK, standard error, MARK, the
# line ` STATUS`. The host makes MARK up, so that it does not occur in the output. Requests run
# beside each other; the host gives each a slot of its own.

agent_port() {
    echo /dev/vport*p"$1"
}

agent_answer() {
    out=/run/agent/$slot.out
    err=/run/agent/$slot.err
    if [ "$kind" = quick ]; then
        (eval "$script") > "$out" 2> "$err" < /dev/null 3<&- 4<&-
    else
        timeout -k 2 "$limit" bash -c "$script" > "$out" 2> "$err" < /dev/null 3<&- 4<&-
    fi
    status=$?
    # Whoever holds the token may answer.
    read -r token <&4
    {
        echo "$slot"
        [ ! -s "$out" ] || cat "$out"
        echo -n "$mark"
        [ ! -s "$err" ] || cat "$err"
        echo "$mark $status"
    } >&3
    echo "$token" >&4
}

# The shell port: the line `ROWS COLUMNS TERM` asks for a shell on a terminal of that size. The
# shell's end is marked, as the host cannot see it otherwise.
(
    shell=$(agent_port 2)
    while true; do
        read -r rows columns term < "$shell" || usleep 200000
        [ -n "$term" ] || continue
        TERM=$term socat "$shell",raw,echo=0 \
            EXEC:"bash /usr/lib/xenios/shell.sh $rows $columns",pty,ctty,stderr,setsid
        printf '\033]xenios-end\007' > "$shell"
        term=
    done
) > /dev/null 2>&1 < /dev/null &

mkfifo /run/agent/token
exec 3<> "$(agent_port 1)" 4<> /run/agent/token
echo token >&4
echo ready >&3
while read -r slot kind limit length mark <&3; do
    script=$(head -c "$length" <&3)
    agent_answer &
done
