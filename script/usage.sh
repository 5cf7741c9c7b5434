# shellcheck shell=sh
# Sourced by the other scripts: print the head of the script, and end, if one of its arguments is --help or -h.
for argument; do
    case $argument in
        -h | --help)
            sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p;}' "$0"
            exit
            ;;
    esac
done
