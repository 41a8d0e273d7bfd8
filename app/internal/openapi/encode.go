package openapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// Encoded is a document as JSON without the address of the server. The address depends on
// the proxy that has forwarded the request for the document, so At inserts it.
type Encoded struct{ before, after []byte }

// serverMark is the placeholder for the address.
const serverMark = "gale:server"

// Encode encodes a document.
func (d *Document) Encode() (*Encoded, error) {
	open := *d
	open.Servers = []Server{{URL: serverMark}}
	text, err := json.Marshal(open)
	if err != nil {
		return nil, err
	}
	const place = `"servers":[{"url":` // cannot occur inside a string, where quotes are escaped
	before, after, found := bytes.Cut(text, []byte(place+`"`+serverMark+`"`))
	before = append(bytes.Clone(before), place...)
	if !found {
		return nil, errors.New("the document has no placeholder for the address of the server")
	}
	return &Encoded{before, after}, nil
}

// At returns the document with the address of the server, and its ETag (RFC 9110 §8.8.3).
func (e *Encoded) At(address string) (body []byte, etag string) {
	url, err := json.Marshal(address)
	if err != nil {
		url = []byte(`"/"`) // cannot happen: every string can be encoded
	}
	body = bytes.Join([][]byte{e.before, url, e.after}, nil)
	sum := sha256.Sum256(body)
	return body, `"` + hex.EncodeToString(sum[:12]) + `"`
}
