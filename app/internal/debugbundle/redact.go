// Package debugbundle makes the parts of the archive of the command "debug bundle": texts
// without secrets, a description of the machine, and the archive itself.
package debugbundle

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// removed replaces a secret.
const removed = "[removed]"

// minSecret is the length from which a secret is also searched for in other texts. A shorter
// one would be found everywhere.
const minSecret = 4

// Redactor removes secrets from texts. Make one with NewRedactor.
type Redactor struct{ known *strings.Replacer }

// NewRedactor returns a Redactor that removes these secrets wherever they occur, also in
// base64, JSON and URLs. Passwords of URLs among them count as secrets, too. Whatever looks
// like a secret is removed as well, see Text.
func NewRedactor(secrets []string) *Redactor {
	var all []string
	for _, s := range secrets {
		for _, s := range append(passwords(s), s) {
			if s = strings.TrimSpace(s); len(s) >= minSecret {
				all = append(all, forms(s)...)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // the longest match wins
	var pairs []string
	for _, s := range slices.Compact(all) {
		pairs = append(pairs, s, removed)
	}
	return &Redactor{strings.NewReplacer(pairs...)}
}

// forms returns the forms in which a secret may occur.
func forms(s string) []string {
	quoted, _ := json.Marshal(s) // cannot fail for a string
	raw := []byte(s)
	return []string{
		s, string(quoted[1 : len(quoted)-1]), url.QueryEscape(s), url.PathEscape(s), url.UserPassword("", s).String()[1:],
		base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	}
}

// authority matches the user information of a URL. It ends at the last @ before the path.
var authority = regexp.MustCompile(`://([^/?#\s"'<>]*)@`)

// passwords returns the passwords of the URLs in a text, as they are written and decoded.
func passwords(text string) (found []string) {
	for _, match := range authority.FindAllStringSubmatch(text, -1) {
		user, password, ok := strings.Cut(match[1], ":")
		if !ok {
			password = user // a token in place of a user
		}
		found = append(found, password)
		if decoded, err := url.PathUnescape(password); err == nil {
			found = append(found, decoded)
		}
	}
	return found
}

// secretWords are parts of names of secrets.
const secretWords = `passw|passphrase|[_-]pwd|secret|token|credential|signature|api[_-]?key|access[_-]?key|private[_-]?key|session[_-]?id`

var (
	secretName = regexp.MustCompile(`(?i)` + secretWords + `|[_-]key$|^key$|auth|dsn`)
	placeName  = regexp.MustCompile(`(?i)(file|path|dir)$`)

	// field matches a name, a separator and a value, which may be quoted, in text and in JSON.
	field = regexp.MustCompile(`(?i)([A-Za-z0-9_.-]*(?:` + secretWords + `)[A-Za-z0-9_.-]*)(\\?["']?\s*[:=]\s*)(\\"[^"]*"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s&,;"']+)`)

	patterns = []struct {
		pattern *regexp.Regexp
		with    string
	}{
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), removed},
		{authority, "://" + removed + "@"},
		{regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key)(\\?["']?\s*[:=]\s*)[^\n]+`), "$1$2" + removed},
		{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "$1 " + removed},
		{regexp.MustCompile(`(?i)\b(bearer(?:64)?)\.[A-Za-z0-9._~+/=-]+`), "$1." + removed},
		{regexp.MustCompile(`(?i)(--[a-z0-9-]*(?:passw|secret|token|api-?key)[a-z0-9-]*)[ \t]+\S+`), "$1 " + removed},
		{regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`), removed},
		{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), removed}, // JWT, RFC 7519
	}
)

// SecretName reports whether the value of a variable, flag or field with this name is a
// secret. Names of files that contain secrets are none.
func SecretName(name string) bool {
	return secretName.MatchString(name) && !placeName.MatchString(name)
}

// Text returns a text without the known secrets, and without what looks like one: passwords
// in URLs, values of fields such as password= and "token":, authorization and cookie fields,
// bearer tokens, private keys, access keys of AWS, and JWTs.
func (r *Redactor) Text(text string) string {
	text = r.known.Replace(text)
	for _, p := range patterns {
		text = p.pattern.ReplaceAllString(text, p.with)
	}
	return field.ReplaceAllStringFunc(text, func(match string) string {
		parts := field.FindStringSubmatch(match)
		quote := ""
		for _, q := range []string{`\"`, `"`, "'"} {
			if strings.HasPrefix(parts[3], q) {
				quote = q
				break
			}
		}
		return parts[1] + parts[2] + quote + removed + quote
	})
}

// Args returns the arguments of a program without secrets, those after a flag such as
// -token included.
func (r *Redactor) Args(args []string) []string {
	safe := make([]string, len(args))
	for i, arg := range args {
		safe[i] = r.Text(arg)
		name, value, ok := strings.Cut(arg, "=")
		switch {
		case ok && value != "" && SecretName(strings.TrimLeft(name, "-")):
			safe[i] = name + "=" + removed
		case i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.Contains(args[i-1], "=") && SecretName(strings.TrimLeft(args[i-1], "-")):
			safe[i] = removed
		}
	}
	return safe
}

// JSON returns v, a value for encoding/json, as indented JSON without secrets: without the
// values of fields whose name is that of a secret, and without the values of environments,
// which are fields named Env.
func (r *Redactor) JSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var generic any
	if err := json.Unmarshal(text, &generic); err != nil {
		return nil, err
	}
	return json.MarshalIndent(r.value("", generic), "", "  ")
}

// value returns a decoded JSON value without secrets. name is the name of its field.
func (r *Redactor) value(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for field, inner := range v {
			v[field] = r.value(field, inner)
		}
		return v
	case []any:
		return r.list(name, v)
	case string:
		if v != "" && SecretName(name) {
			return removed
		}
		return r.Text(v)
	}
	return v
}

func (r *Redactor) list(name string, all []any) any {
	texts := make([]string, 0, len(all))
	for i, inner := range all {
		if text, ok := inner.(string); ok {
			texts = append(texts, text)
		}
		all[i] = r.value(name, inner)
	}
	if len(texts) < len(all) {
		return all
	}
	if name != "Env" {
		return r.Args(texts)
	}
	for i, text := range texts {
		variable, _, _ := strings.Cut(text, "=")
		texts[i] = variable + "=" + removed
	}
	return texts
}

// Environ returns an environment in the form of os.Environ, sorted, with the values of
// variables that show reports true for and that are no secrets, and only the names of others.
func (r *Redactor) Environ(environ []string, show func(name string) bool) []string {
	var all []string
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if show(name) && !SecretName(name) {
			all = append(all, name+"="+r.Text(value))
		} else {
			all = append(all, name+"="+removed)
		}
	}
	slices.Sort(all)
	return all
}

// number matches values that are too short to be searched for in other texts.
var number = regexp.MustCompile(`^([0-9]{1,5}|true|false)$`)

// Secrets returns the values in an environment that are secrets: those of variables with
// the name of a secret, and the passwords of URLs in all of them.
func Secrets(environ []string) (found []string) {
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if SecretName(name) && !number.MatchString(value) {
			found = append(found, value)
			found = append(found, strings.Fields(value)...)
		}
		found = append(found, passwords(value)...)
	}
	return found
}
