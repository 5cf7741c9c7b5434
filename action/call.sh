#!/usr/bin/env bash
# Calls a webhook handler, waits, and reports: the only step of action.yml. Works with the bash 3.2 of macOS.
#
# The URL and the identity token are credentials. They are masked in the log, and passed to curl on stdin: they stand in
# no command line.
set -euo pipefail

readonly tries=5           # of the call, all with the same key
readonly longest_pause_s=60
readonly poll_s=50         # proxies cut silent connections after 60 s

url=${CALL_URL-} wait_s=${CALL_WAIT-} tag=${CALL_TAG-} amount=${CALL_AMOUNT-} data=${CALL_DATA-} key=${CALL_KEY-}
oidc=${CALL_OIDC-} audience=${CALL_AUDIENCE-}
token_url=${ACTIONS_ID_TOKEN_REQUEST_URL-} token_bearer=${ACTIONS_ID_TOKEN_REQUEST_TOKEN-} token=''
unset CALL_URL CALL_DATA ACTIONS_ID_TOKEN_REQUEST_TOKEN # curl need not have them in its environment
state='' reason='' action='' notes='' log_tail='' change='' failure=''

quote='"' newline=$'\n' return=$'\r' ampersand='&amp;' less='&lt;' greater='&gt;'

escape_command() { # Print $1 for a workflow command.
    local text=${1//%/%25}
    text=${text//$return/%0D}
    text=${text//$newline/%0A}
    printf '%s' "$text"
}

escape_html() { # Print $1 as text within HTML.
    local text=${1//&/"$ampersand"}
    text=${text//</"$less"}
    text=${text//>/"$greater"}
    printf '%s' "$text"
}

escape_markdown() { # Print $1 on one line, as text without markup.
    local text sign
    text=$(escape_html "$1")
    text=${text//\\/\\\\}
    for sign in "\`" '*' '_' '[' ']' '|' '~' '#' '!' '$' '@' ':'; do
        text=${text//"$sign"/\\"$sign"}
    done
    text=${text//$newline/<br>}
    printf '%s' "$text"
}

write_outputs() {
    local name end="end-$RANDOM$RANDOM$RANDOM"
    for name in state reason action; do
        printf '%s<<%s\n%s\n%s\n' "$name" "$end" "${!name}" "$end"
    done >>"${GITHUB_OUTPUT:-/dev/null}"
}

write_summary() { # $1: the sentence that says how it ended.
    {
        printf '### %s\n\n| | |\n| --- | --- |\n' "$(escape_markdown "$1")"
        printf '| State | %s |\n' "$(escape_markdown "${state:-not accepted}")"
        if [ -n "$reason" ]; then printf '| Reason | %s |\n' "$(escape_markdown "$reason")"; fi
        if [ -n "$change" ]; then printf '| Containers | %s |\n' "$(escape_markdown "$change")"; fi
        if [ -n "$notes" ]; then printf '| Notes | %s |\n' "$(escape_markdown "$notes")"; fi
        if [ -n "$action" ]; then printf '| Action | %s |\n' "$(escape_markdown "$action")"; fi
        printf '| Took | %s s |\n' "$SECONDS"
        # Within <pre>, blank lines would not end the block, but they would for other tags.
        if [ -n "$log_tail" ]; then printf '\n<pre>\n%s\n</pre>\n' "$(escape_html "$log_tail")"; fi
        printf '\n'
    } >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
}

finish() { # $1: error or notice; $2: title; $3: text. Ends the step.
    local end="end-$RANDOM$RANDOM$RANDOM"
    if [ -n "$log_tail" ]; then # it may look like commands of workflows
        printf '::stop-commands::%s\n%s\n::%s::\n' "$end" "$log_tail" "$end"
    fi
    printf '::%s title=%s::%s\n' "$1" "$2" "$(escape_command "$3")"
    write_outputs
    write_summary "$2"
    if [ "$1" = error ]; then exit 1; fi
    exit 0
}

match() { # Print what the first group of the pattern $1 is in the body; nothing if there is no match.
    local body
    body=$(cat "$folder/body")
    if [[ $body =~ $1 ]]; then printf '%s' "${BASH_REMATCH[1]}"; fi
}

decode() { # Print $1, the inside of a JSON text, without control characters other than tab and newline.
    local text=${1//\\$quote/$quote} # each quote in it has a backslash, which %b would keep
    printf '%b' "$text" | tr -d '\000-\010\013-\037\177'
}

text_of() { # Print the text field $1 of the JSON object in the body.
    decode "$(match "\"$1\" *: *\"(([^\"\\\\]|\\\\.)*)\"")"
}

notes_of() { # Print the sentences in the list "notes" of the body.
    local list
    list=$(match '"notes" *: *\["(([^"\\]|\\.|", *")*)"\]')
    list=${list//$quote,$quote/ }
    list=${list//$quote, $quote/ }
    decode "$list"
}

header_of() { # Print the last value of the header $1 of the response.
    { grep -i "^$1:" "$folder/headers" || true; } | tail -n 1 | sed 's/^[^:]*: *//' | tr -d '\r\n'
}

request() { # Send a request: $1 method, $2 URL, $3 seconds that the server may wait. Sets status; 000: no response.
    local body_option=()
    if [ "$1" = POST ]; then body_option=(--data-binary "@$folder/data"); fi
    : >"$folder/body"
    : >"$folder/headers"
    status=$(
        {
            printf 'request = "%s"\nurl = "%s"\n' "$1" "$2"
            if [ "$1" = POST ]; then
                printf 'header = "Idempotency-Key: %s"\nheader = "Content-Type: application/json"\n' "$key"
                if [ -n "$token" ]; then printf 'header = "Authorization: Bearer %s"\n' "$token"; fi
            fi
        } | curl -q --silent --show-error --connect-timeout 10 --max-time "$(($3 + 30))" --user-agent tutumd-action \
            ${body_option[@]+"${body_option[@]}"} --output "$folder/body" --dump-header "$folder/headers" --write-out '%{http_code}' --config - \
            2>"$folder/error"
    ) || status=000
}

pause() { # Wait as long as the server asks, or else $1 seconds.
    local asked_s
    asked_s=$(header_of Retry-After)
    [[ $asked_s =~ ^[0-9]{1,6}$ ]] || asked_s=$1
    if [ "$asked_s" -gt "$longest_pause_s" ]; then asked_s=$longest_pause_s; fi
    sleep "$asked_s"
}

read_progress() { # Take over what a response says about the run.
    state=$(text_of state) reason=$(text_of reason) log_tail=$(text_of log_tail)
    change="$(match '"containers_before" *: *([0-9]+)') → $(match '"containers_after" *: *([0-9]+)')"
    if [ "$change" = ' → ' ]; then change=''; fi
}

query() { # Print $1 with the parameters of the call; $2: seconds to wait.
    local separator='?'
    printf '%s' "$1"
    if [ -n "$tag" ]; then printf '?tag=%s' "$tag" && separator='&'; fi
    if [ "$2" -gt 0 ]; then printf '%swait=%s' "$separator" "$2"; fi
}

least() { if [ "$1" -lt "$2" ]; then printf '%s' "$1"; else printf '%s' "$2"; fi; }

check_inputs() {
    if [ -z "$url" ]; then
        finish error 'No URL' 'The input url is empty. Is the secret set? Pull requests from forks get no secrets.'
    fi
    printf '::add-mask::%s\n' "$(escape_command "$url")"
    local form='^https?://[^[:space:]"\?#]+/call/?$'
    if ! [[ $url =~ $form ]]; then
        finish error 'Wrong URL' 'The input url must be the URL of a handler, ending in /call/, without parameters.'
    fi
    url=${url%/}/
    local secret=${url%/call/}
    printf '::add-mask::%s\n' "${secret##*/}"
    [[ $wait_s =~ ^[0-9]{1,6}$ ]] || finish error 'Wrong input' 'wait must be a number of seconds, such as 600.'
    wait_s=$((10#$wait_s))
    [[ $amount =~ ^([1-9][0-9]{0,2})?$ ]] || finish error 'Wrong input' 'amount must be 1 to 100.'
    [[ $tag =~ ^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$ ]] ||
        finish error 'Wrong input' 'tag must be the tag of an image alone, such as v1.2.'
    [[ $key =~ ^[A-Za-z0-9_.:/+=-]{0,200}$ ]] ||
        finish error 'Wrong input' 'key must have at most 200 letters, digits, and signs such as - and _.'
    [[ $oidc =~ ^(true|false)?$ ]] || finish error 'Wrong input' 'oidc must be true or false.'
    [[ $audience =~ ^[A-Za-z0-9_.:/~-]{0,200}$ ]] ||
        finish error 'Wrong input' 'audience must be a text such as https://hooks.example.com.'
}

request_token() { # Request the identity token of the job. All tries of a call have the same token: it is their key.
    if [ -z "$token_url" ] || [ -z "$token_bearer" ]; then
        finish error 'No identity token' "The job may not request an identity token. It needs the permission id-token: \
write (Forgejo: enable-openid-connect: true). Pull requests from forks get no token."
    fi
    if [ -z "$audience" ] && [[ $url =~ ^https?://[^/]+ ]]; then audience=${BASH_REMATCH[0]}; fi
    local problem=''
    : >"$folder/body"
    printf 'url = "%s&audience=%s"\nheader = "Authorization: bearer %s"\n' "$token_url" "$audience" "$token_bearer" |
        curl -q --silent --show-error --fail --retry 3 --connect-timeout 10 --max-time 30 --output "$folder/body" \
            --config - 2>"$folder/error" || problem=$(sed 's/^curl: //' "$folder/error")
    token=$(match '"value" *: *"([A-Za-z0-9_.-]+)"')
    if [ -z "$token" ]; then
        finish error 'No identity token' "The issuer gave no token${problem:+: $problem}"
    fi
    printf '::add-mask::%s\n' "$token"
}

call() { # Call the handler. An unclear end is repeated, with the same key, so that it cannot count twice.
    local try=1 post_url=$url first_wait_s
    if [ -n "$amount" ]; then post_url=$url$amount/; fi
    first_wait_s=$(least "$wait_s" "$poll_s")
    while :; do
        request POST "$(query "$post_url" "$first_wait_s")" "$first_wait_s"
        state=$(text_of state)
        if [ -n "$state" ] || [ -n "$(match '"(status_url)"')" ]; then break; fi
        case $status in
        000 | 429 | 502 | 503 | 504) ;;
        404) if is_of_tutumd; then break; fi ;; # of a proxy that does not know the server just now
        *) break ;;
        esac
        if [ "$try" -ge "$tries" ]; then break; fi
        printf 'Try %s of %s: %s. Trying again.\n' "$try" "$tries" "$(describe_failure)"
        pause "$((1 << (try - 1)))"
        try=$((try + 1))
    done
}

is_of_tutumd() { [ -n "$(match '"(error|state)" *: *"')" ]; } # Succeed if tutumd wrote the body.

describe_failure() { # Print why a call was not accepted, on one line that no runner takes for a command.
    local text
    case $status in
    000) text=$(sed 's/^curl: //' "$folder/error") ;;
    3??) text="HTTP $status: the server redirects: use the URL that it redirects to, with https" ;;
    *)
        text="HTTP $status: $(text_of error)"
        if ! is_of_tutumd; then
            text="HTTP $status: this is no answer of tutumd, but of a proxy or another server"
        elif [ "$status" = 404 ]; then
            text='HTTP 404: there is no such handler, or it is disabled, expired or used up, or not for this address'
        fi
        ;;
    esac
    text=${text//$newline/ }
    text=${text//##\[/[}
    printf '%s' "$text"
}

wait_for_end() { # Ask for the progress until the run has ended, or the time is over.
    local server=${url%%/api/v1/*} path=$1 left_s told=''
    printf '::add-mask::%s\n' "$path"
    while [ "$state" = Pending ] || [ "$state" = 'In progress' ] || [ "$state" = Canceling ]; do
        if [ "$state" != "$told" ]; then printf '%s after %s s\n' "$state" "$SECONDS" && told=$state; fi
        left_s=$((wait_s - SECONDS))
        if [ "$left_s" -le 0 ]; then return; fi
        left_s=$(least "$left_s" "$poll_s")
        request GET "$server$path?wait=$left_s" "$left_s"
        failure=''
        case $status-$(is_of_tutumd && printf tutumd) in
        200-tutumd) read_progress ;;
        404-tutumd) finish error 'Lost the redeploy' 'The handler or the action is gone. What it did is not known.' ;;
        *) failure=$(describe_failure) && pause 2 ;;
        esac
    done
}

main() {
    folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/tutumd.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    check_inputs
    printf '%s' "$data" >"$folder/data"
    if [ -z "$key" ]; then
        # The same for all tries of this step only. The jobs of a matrix differ in no variable, so mktemp's letters do it.
        key="github-${GITHUB_RUN_ID:-}-${GITHUB_RUN_ATTEMPT:-}-${folder##*.}"
    fi
    if [ "$oidc" = true ]; then request_token; fi
    call
    action=$(header_of X-Tutum-Action-URI)
    action=${action%/} action=${action##*/}
    local status_path
    status_path=$(match '"status_url" *: *"(/api/v1/status/[A-Za-z0-9_.~-]+/?)"')
    if [ -z "$state" ] && [ -z "$status_path" ]; then
        reason=$(describe_failure)
        finish error 'Not accepted' "$reason"
    fi
    notes=$(notes_of)
    read_progress
    state=${state:-Pending}
    if [ "$wait_s" -gt 0 ] && [ -n "$status_path" ]; then wait_for_end "$status_path"; fi
    case $state in
    Success) finish notice 'Redeployed' "The new containers run${change:+ ($change)}.${notes:+ $notes}" ;;
    Skipped) finish notice 'Skipped' "Nothing was done: ${reason:-the filter of the handler does not match}" ;;
    Failed | Canceled) finish error "$state" "${reason:-The server gave no reason}" ;;
    esac
    if [ -n "$failure" ]; then
        finish error 'Not known' "The end is not known after $SECONDS s: $failure. It was $state, and may go on."
    fi
    if [ "$wait_s" -gt 0 ]; then
        finish error 'Not ended in time' "It has not ended after $SECONDS s ($state${reason:+: $reason}). It goes on."
    fi
    finish notice 'Accepted' 'The server performs it. Nobody waits for the end.'
}

main
