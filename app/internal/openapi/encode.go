package openapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// Encoded is a document as JSON without the address of the server, which depends on the
// proxy that has forwarded the request for the document.
type Encoded struct{ before, after []byte }

// serverMark stands where the address goes.
const serverMark = "gale:server"

// Encode encodes a document.
func (d *Document) Encode() (*Encoded, error) {
	open := *d
	open.Servers = []Server{{URL: serverMark}}
	text, err := json.Marshal(open)
	if err != nil {
		return nil, err
	}
	const place = `"servers":[{"url":` // no string in the document can hold it: quotes are escaped there
	before, after, found := bytes.Cut(text, []byte(place+`"`+serverMark+`"`))
	before = append(bytes.Clone(before), place...)
	if !found {
		return nil, errors.New("the document has no place for the address of the server")
	}
	return &Encoded{before, after}, nil
}

// At returns the document with the address of the server, and its ETag (RFC 9110 §8.8.3).
func (e *Encoded) At(address string) (body []byte, etag string) {
	url, err := json.Marshal(address)
	if err != nil {
		url = []byte(`"/"`) // cannot be: every string can be encoded
	}
	body = bytes.Join([][]byte{e.before, url, e.after}, nil)
	sum := sha256.Sum256(body)
	return body, `"` + hex.EncodeToString(sum[:12]) + `"`
}
