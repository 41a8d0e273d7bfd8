package uploads

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"

	"github.com/dunglas/httpsfv"
)

// digestHashes are the algorithms that are verified. The registry of RFC 9530, section
// 5, marks all others as deprecated.
var digestHashes = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

// Digests are the digests that a client has sent for a body or a part.
type Digests []digest

type digest struct {
	algorithm string
	sum       []byte
}

// ParseDigests parses the values of Content-Digest and Repr-Digest fields (RFC 9530;
// each value is a Dictionary of RFC 9651). Both fields mean the same here, because a
// store accepts no content coding. Algorithms other than sha-256 and sha-512 are
// ignored, as the RFC allows. The error wraps ErrMalformed: a field that cannot be
// parsed is not ignored, because the client expects its digest to be verified.
func ParseDigests(fields ...string) (Digests, error) {
	var all Digests
	for _, field := range fields {
		dictionary, err := httpsfv.UnmarshalDictionary([]string{field})
		if err != nil {
			return nil, WithReason(ErrMalformed, "a digest field is not a dictionary (RFC 9651)")
		}
		for _, algorithm := range dictionary.Names() {
			newHash, known := digestHashes[algorithm]
			if !known {
				continue
			}
			member, _ := dictionary.Get(algorithm)
			item, _ := member.(httpsfv.Item)
			sum, ok := item.Value.([]byte)
			if !ok || len(sum) != newHash().Size() {
				return nil, WithReason(ErrMalformed, fmt.Sprintf("the %s of a digest field is not a byte sequence of %d bytes (RFC 9651)", algorithm, newHash().Size()))
			}
			all = append(all, digest{algorithm, sum})
		}
	}
	return all, nil
}

// Reader returns a reader of r that verifies the digests at the end of r. If a digest does
// not match, its Read returns an error that wraps ErrDigest instead of io.EOF.
func (d Digests) Reader(r io.Reader) io.Reader {
	if len(d) == 0 {
		return r
	}
	v := &verifier{r: r, expected: d}
	for _, e := range d {
		v.hashes = append(v.hashes, digestHashes[e.algorithm]())
	}
	return v
}

type verifier struct {
	r        io.Reader
	expected Digests
	hashes   []hash.Hash
	err      error // error that each further Read returns
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	for _, h := range v.hashes {
		h.Write(p[:n])
	}
	if err != io.EOF { // not errors.Is: a wrapped io.EOF is not the end
		v.err = err
		return n, err
	}
	v.err = io.EOF
	for i, e := range v.expected {
		if !bytes.Equal(v.hashes[i].Sum(nil), e.sum) {
			v.err = WithReason(ErrDigest, "the received bytes have another "+e.algorithm)
		}
	}
	return n, v.err
}
