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

// minSecret is the minimum length of a secret, in bytes.
const minSecret = 32

// Keys sign all cookies and encrypt secret ones. New cookies use the first key; cookies
// in requests are valid with any of the keys. To replace a key, insert the new one before
// it, and remove the old one when the last cookie signed with it has expired. Keys are
// safe for concurrent use.
type Keys struct{ pairs []pair }

// pair holds the two keys that are derived from one secret.
type pair struct{ sign, encrypt []byte }

// NewKeys derives keys from secrets, each of at least 32 random bytes. It returns an
// error if there is no secret or a secret is shorter.
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

// ReadKeys reads a file with one secret per line, in base64, as `openssl rand -base64 32`
// prints it. It skips empty lines and lines that begin with #. The error names the line
// but never shows its text.
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
		if err != nil { // err is dropped, since it may show a part of the secret
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

// EnsureKeys reads the keys from file like ReadKeys. If the file does not exist, it first
// creates it with one random key. Processes that call it at the same time get the same
// key.
func EnsureKeys(file string) (*Keys, error) {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return ReadKeys(file)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".cookie-key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make cookie key: %w", err)
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // file is another link to it, or it is not needed
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

// codecs returns a codec for each key. They encode and decode the values of one cookie.
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
