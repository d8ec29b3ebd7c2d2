# shellcheck shell=bash
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0
#
# Completion of multus for bash 4 or later.

_multus() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words=''
    local commands='validate compose try list forget install ready uninstall version help'
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
        return
    fi
    case $previous in
        --cni-path | --cni-dir | --bin-dir | --conf-dir)
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            compopt -o filenames
            return
            ;;
        --output) words='table wide json' ;;
        --state) words='attached partial stale locked damaged newer quarantined 2017 upstream' ;;
        --name | --ifname | --pod | --network | --remove) return ;;
        *)
            case ${COMP_WORDS[1]} in
                validate) words='--cni-path --offline --strict --json' ;;
                compose) words='--name --ifname --cni-path' ;;
                try) words='--cni-path --no-gateway --keep --remove --json' ;;
                list) words='--cni-dir --conf-dir --pod --network --state --output --wide --json --metrics' ;;
                forget) words='--ifname --cni-dir --conf-dir --conf --cni-path --dry-run --stale' ;;
                install) words='--bin-dir --conf-dir --named --drained --dry-run --wait' ;;
                ready) words='--bin-dir --conf-dir' ;;
                uninstall) words='--bin-dir --conf-dir --cni-dir' ;;
                help) words=$commands ;;
            esac
            # Other arguments are files, which "complete -o default" completes.
            [[ $current == -* || ${COMP_WORDS[1]} == help ]] || return 0
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o default -F _multus multus
