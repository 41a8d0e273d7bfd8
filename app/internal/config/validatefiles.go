package config

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// checkFolder checks that a folder is writable, or can be created if it does not exist.
// It does not create it.
func (f *flags) checkFolder(name, path string) {
	if path == "" {
		f.fault("-%s: is empty; give a folder", name)
		return
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
			continue
		case err != nil:
			f.fault("-%s: %v", name, err)
		case !info.IsDir():
			f.fault("-%s: %s is not a folder", name, dir)
		case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
			f.fault("-%s: folder %s is not writable", name, dir)
		}
		return
	}
}

// loadToken reads the token from its file, and checks that clients can send it.
func (f *flags) loadToken(c *Config) {
	if f.tokenFile != "" {
		if c.Token != "" {
			f.fault("-token and -token-file: give only one of them")
			return
		}
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			f.fault("-token-file: %v", err)
			return
		}
		if c.Token = strings.TrimSpace(string(text)); c.Token == "" {
			f.fault("-token-file: %s is empty", f.tokenFile)
		}
	}
	// RFC 6750 section 2.1, b64token. Clients encode other characters in different ways,
	// or cannot send them in a header field at all.
	const other = "-._~+/="
	for _, r := range c.Token {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		digit := r >= '0' && r <= '9'
		if !letter && !digit && !strings.ContainsRune(other, r) {
			f.fault("token: contains a character other than letters, digits and %s, and cannot be sent as a bearer token", other)
			return
		}
	}
}

// checkReadable checks that path is empty or an existing folder.
func (f *flags) checkReadable(name, path string) {
	if path == "" {
		return
	}
	if info, err := os.Stat(path); err != nil {
		f.fault("-%s: %v", name, err)
	} else if !info.IsDir() {
		f.fault("-%s: %s is not a folder", name, path)
	}
}

// checkCertificate loads the certificate and its key once, as every child does.
func (f *flags) checkCertificate(c *Config) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return
	case c.TLSCert == "" || c.TLSKey == "":
		f.fault("-tls-cert and -tls-key: give both of them")
		return
	}
	if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
		f.fault("-tls-cert and -tls-key: %v", err)
	}
}
