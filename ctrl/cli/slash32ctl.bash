# SPDX-License-Identifier: Apache-2.0
# bash completion of slash32ctl: the program itself knows what may come next.
_slash32ctl() {
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    # bash takes ':' for the end of a word, so that words of the line and COMP_WORDS may differ.
    mapfile -t COMPREPLY < <(slash32ctl --complete "${words[@]}" 2>/dev/null)
    if ((${#COMPREPLY[@]} == 0)); then
        compopt -o default
    fi
}
complete -F _slash32ctl slash32ctl
