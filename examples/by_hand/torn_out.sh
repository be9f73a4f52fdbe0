#!/bin/sh
# SPDX-License-Identifier: MIT
# A card is torn out in the middle of a signature of pkcs11-tool, and put back.
set -eu
folder=$(mktemp -d)
simulator=
trap 'test -z "$simulator" || kill "$simulator"; rm -rf "$folder"' EXIT

# A simulator with sockets of its own. Its first lines say that it is ready, and set what programs find it by.
mkfifo "$folder/ready"
cardtear serve --folder "$folder/run" >"$folder/ready" &
simulator=$!
{ read -r ready; read -r module; read -r socket; read -r control; } <"$folder/ready"
echo "$ready"
eval "$module; $socket; $control"

sign() {
    echo "a document" >"$folder/document"
    pkcs11-tool --module "$CARDTEAR_MODULE" --login --pin 123456 --sign --mechanism SHA256-RSA-PKCS --id 01 \
        --input-file "$folder/document" --output-file "$folder/signature"
}

sign
echo "--- the card is in: signed"

# The second GENERAL AUTHENTICATE (87) is the second half of an RSA signature.
cardtear arm remove front --ins 87 --link 2
cardtear status
if sign; then
    echo "a signature without a card" >&2
    exit 1
fi
echo "--- torn out: no signature"

cardtear insert front
sign
echo "--- the card is back: signed"

# A card that is there and answers nothing but errors: once is not enough for pkcs11-tool, which tries again.
cardtear arm answer 6F00 --ins 87 --times always
if sign; then
    echo "a signature of a card that gave none" >&2
    exit 1
fi
cardtear disarm 2
sign
echo "--- errors of the card: no signature; without them: signed"
cardtear trace --no-follow --short
