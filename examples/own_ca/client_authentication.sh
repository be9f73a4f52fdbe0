#!/bin/sh
# SPDX-License-Identifier: MIT
# A CA of your own signs the card's certificates; a TLS server that trusts this CA asks for one. The card is pulled in
# the middle of a handshake, and put back. Needs openssl and gnutls-cli.
set -eu
folder=$(mktemp -d)
simulator=
server=
trap 'kill $server $simulator 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

# The CA, and a certificate for the server. Of a CA that exists, take its certificate and key as ca.pem and ca.key.
make="openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
$make -keyout ca.key -out ca.pem -subj "/CN=Example CA" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>openssl.log
$make -keyout server.key -out server.pem -subj "/CN=localhost" -CA ca.pem -CAkey ca.key \
    -addext "basicConstraints=critical,CA:false" -addext "subjectAltName=DNS:localhost" 2>>openssl.log

# The card, with certificates of the CA. Key slot 9A, for authentication, has CKA_ID 01 in PKCS #11.
cardtear card new alice.card --name Alice --set subject="CN=Alice,O=Example" --set 9A.upn=alice@example.test \
    --set ca_certificate=ca.pem --set ca_key=ca.key
cardtear card show alice.card

# A simulator with the card, and a server that wants a certificate of the CA.
mkfifo ready
cardtear serve --folder "$folder/run" --image alice.card >ready &
simulator=$!
{ read -r line; read -r module; read -r socket; read -r control; } <ready
echo "$line"
eval "$module; $socket; $control"
openssl s_server -accept 127.0.0.1:0 -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error \
    -www >server.log 2>&1 &
server=$!
until grep -q "^ACCEPT" server.log; do
    kill -0 "$server"
    sleep 0.1
done
port=$(sed -n 's/^ACCEPT .*://p' server.log)

# The client: PKCS #11 URIs name certificate and key. The page that it gets shows the certificate that the server got.
visit() {
    printf 'GET / HTTP/1.0\r\n\r\n' | GNUTLS_PIN=123456 gnutls-cli --provider "$CARDTEAR_MODULE" --x509cafile ca.pem \
        --x509certfile 'pkcs11:token=Alice;id=%01;type=cert' --x509keyfile 'pkcs11:token=Alice;id=%01;type=private' \
        --port "$port" localhost >page 2>&1 && grep -q "Subject:.*CN *= *Alice" page
}

visit
echo "--- the card is in: the server knows Alice"

cardtear arm remove front --call C_Sign --during
if visit; then
    echo "a handshake without a card" >&2
    exit 1
fi
echo "--- pulled in the handshake's signature: no connection"
cardtear status

cardtear insert front
visit
echo "--- the card is back: the server knows Alice"
