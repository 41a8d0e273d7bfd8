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

// digestHashes are the algorithms of RFC 9530, section 5, that are verified. The
// others of its registry are deprecated there.
var digestHashes = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

// Digests are what a sender says of the bytes that it sends.
type Digests []digest

type digest struct {
	algorithm string
	sum       []byte
}

// ParseDigests reads the values of Content-Digest and Repr-Digest fields (RFC
// 9530; each is a Dictionary of RFC 9651). For bytes that are sent in no coding,
// and a store takes no others, both mean the same. Algorithms other than sha-256
// and sha-512 are ignored, as the RFC allows. The error wraps ErrMalformed: what
// is no such field is refused, not ignored, since its sender wanted it verified.
func ParseDigests(fields ...string) (Digests, error) {
	var all Digests
	for _, field := range fields {
		dictionary, err := httpsfv.UnmarshalDictionary([]string{field})
		if err != nil {
			return nil, WithReason(ErrMalformed, "a digest field is no dictionary of structured fields")
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
				return nil, WithReason(ErrMalformed, fmt.Sprintf("the %s of a digest field is no byte sequence of %d bytes", algorithm, newHash().Size()))
			}
			all = append(all, digest{algorithm, sum})
		}
	}
	return all, nil
}

// Reader reads r and, where r gives io.EOF, compares: if the bytes are others,
// the error is one that wraps ErrDigest in its place.
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
	err      error // sticky
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	for _, h := range v.hashes {
		h.Write(p[:n])
	}
	if err != io.EOF { // and no error around it
		v.err = err
		return n, err
	}
	v.err = io.EOF
	for i, e := range v.expected {
		if !bytes.Equal(v.hashes[i].Sum(nil), e.sum) {
			v.err = WithReason(ErrDigest, "the "+e.algorithm+" of what arrived is another")
		}
	}
	return n, v.err
}
