package cookie

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gorilla/securecookie"
)

// minSecret is how short a secret may be, in bytes.
const minSecret = 32

// Keys sign cookies, and encrypt those that shall be secret. The first key is used for
// new cookies, all are tried on those that come back. To replace a key, put the new one
// in front, and remove the old one when its last cookie has expired. Keys are safe for
// concurrent use.
type Keys struct{ pairs []pair }

// pair is made of one secret.
type pair struct{ sign, encrypt []byte }

// NewKeys makes keys of secrets, each of at least 32 random bytes.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	k := &Keys{}
	for i, secret := range secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("cookie key %d: %d bytes; it needs %d random bytes or more", i+1, len(secret), minSecret)
		}
		sign, err := hkdf.Key(sha256.New, secret, nil, "gale cookie signature", 32)
		if err != nil {
			return nil, fmt.Errorf("derive cookie key: %w", err)
		}
		encrypt, err := hkdf.Key(sha256.New, secret, nil, "gale cookie encryption", 32)
		if err != nil {
			return nil, fmt.Errorf("derive cookie key: %w", err)
		}
		k.pairs = append(k.pairs, pair{sign, encrypt})
	}
	if len(k.pairs) == 0 {
		return nil, errors.New("no cookie key")
	}
	return k, nil
}

// ReadKeys reads a file of secrets in base64, one a line, as `openssl rand -base64 32`
// prints it; empty lines and those that begin with # do not count.
func ReadKeys(file string) (*Keys, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var secrets [][]byte
	number := 0
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		number++
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		secret, err := base64.StdEncoding.DecodeString(line)
		if err != nil { // the error would show the line
			return nil, fmt.Errorf("%s: line %d is not base64; make a key with: openssl rand -base64 32", file, number)
		}
		secrets = append(secrets, secret)
	}
	keys, err := NewKeys(secrets...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; make a key with: openssl rand -base64 32", file, err)
	}
	return keys, nil
}

// EnsureKeys reads the file, and makes it with one random key if there is none. Processes
// that do so at the same time get the same key.
func EnsureKeys(file string) (*Keys, error) {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return ReadKeys(file)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".cookie-key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make cookie key: %w", err)
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // it has another name by then, or is of no use
	secret := make([]byte, minSecret)
	_, _ = rand.Read(secret) // never fails
	_, err = fmt.Fprintf(temp, "# signs cookies; the first key signs, all verify\n%s\n", base64.StdEncoding.EncodeToString(secret))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return nil, fmt.Errorf("make cookie key: %w", err)
	}
	if err := os.Link(temp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) { // another process was faster
		return nil, fmt.Errorf("make cookie key: %w", err)
	}
	return ReadKeys(file)
}

// codecs are for the values of one cookie.
func (k *Keys) codecs(o Options) []securecookie.Codec {
	all := make([]securecookie.Codec, len(k.pairs))
	for i, p := range k.pairs {
		var encrypt []byte
		if o.Secret {
			encrypt = p.encrypt
		}
		all[i] = securecookie.New(p.sign, encrypt).SetSerializer(securecookie.NopEncoder{}).MaxAge(int(o.MaxAge.Seconds())).MaxLength(maxLength)
	}
	return all
}
