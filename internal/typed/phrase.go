package typed

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
)

// phrases say what a rule demands. {} is its parameter.
var phrases = map[string]string{
	"eq": "must be {}", "ne": "must not be {}",
	"eq_ignore_case": "must be {}", "ne_ignore_case": "must not be {}",
	"isdefault": "must not be given",
	"unique":    "must not have two equal items",

	"startswith": `must begin with "{}"`, "startsnotwith": `must not begin with "{}"`,
	"endswith": `must end with "{}"`, "endsnotwith": `must not end with "{}"`,
	"contains": `must contain "{}"`, "excludes": `must not contain "{}"`,
	"containsany": `must contain one of the characters "{}"`, "excludesall": `must not contain any of the characters "{}"`,

	"alpha": "must consist of letters (a to z)", "alphaunicode": "must consist of letters",
	"alphanum": "must consist of letters (a to z) and digits", "alphanumunicode": "must consist of letters and digits",
	"ascii": "must consist of ASCII characters", "printascii": "must consist of printable ASCII characters",
	"lowercase": "must be in lower case", "uppercase": "must be in upper case",
	"number": "must consist of digits", "numeric": "must be a number", "boolean": "must be a boolean",
	"hexadecimal": "must be a hexadecimal number", "base64": "must be Base64", "json": "must be JSON",

	"email": "must be an email address", "e164": "must be a phone number such as +15550100",
	"url": "must be a URL", "uri": "must be a URI", "http_url": "must be a URL with http or https", "https_url": "must be a URL with https",
	"hostname": "must be a host name", "hostname_rfc1123": "must be a host name", "fqdn": "must be a full domain name",
	"ip": "must be an IP address", "ipv4": "must be an IPv4 address", "ipv6": "must be an IPv6 address", "cidr": "must be a network such as 192.0.2.0/24",
	"uuid": "must be a UUID", "uuid3": "must be a UUID of version 3", "uuid4": "must be a UUID of version 4", "uuid5": "must be a UUID of version 5", "uuid7": "must be a UUID of version 7",
	"ulid": "must be a ULID", "semver": "must be a semantic version", "hexcolor": "must be a color such as #ff8800",
	"timezone":         "must be the name of a time zone",
	"iso3166_1_alpha2": "must be a country code of two letters", "iso4217": "must be a currency code of three letters",
	"latitude": "must be a latitude", "longitude": "must be a longitude",
}

// comparisons are the rules on the size of a number, the length of a text, or the number
// of items. The texts are for numbers and for the others.
var comparisons = map[string][2]string{
	"min": {"at least", "at least"}, "gte": {"at least", "at least"},
	"max": {"at most", "at most"}, "lte": {"at most", "at most"},
	"gt": {"greater than", "more than"}, "lt": {"less than", "fewer than"},
	"len": {"", "exactly"},
}

// timeWords are the words of comparisons for a time.
var timeWords = map[string]string{
	"gt": "after", "gte": "at or after", "min": "at or after",
	"lt": "before", "lte": "at or before", "max": "at or before",
}

// phrase returns the text for a broken rule.
func phrase(b validator.FieldError) string {
	name, param := b.Tag(), b.Param()
	if b.ActualTag() != name && !strings.Contains(b.ActualTag(), "|") {
		return "must satisfy " + name // an alias
	}
	words, compares := comparisons[name]
	switch {
	case name == "required":
		return requiredPhrase(b.Kind())
	case compares:
		return comparePhrase(b, words)
	case (name == "eq" || name == "ne") && isCollection(b.Kind()):
		words = [2]string{"", map[string]string{"eq": "exactly", "ne": "more or fewer than"}[name]}
		return comparePhrase(b, words)
	case name == "oneof" || name == "oneofci":
		return "must be one of: " + strings.Join(Choices(param), ", ")
	case name == "noneof" || name == "noneofci":
		return "must not be one of: " + strings.Join(Choices(param), ", ")
	case name == "datetime":
		return "must be a date or time of the form " + param
	}
	if text, ok := phrases[name]; ok {
		return strings.Replace(text, "{}", param, 1)
	}
	if param != "" && !strings.Contains(name, "|") {
		name += "=" + param
	}
	return "must satisfy " + name
}

func requiredPhrase(kind reflect.Kind) string {
	switch {
	case kind == reflect.Bool:
		return "must be true"
	case kind >= reflect.Int && kind <= reflect.Float64:
		return "must not be 0"
	case kind == reflect.Pointer || kind == reflect.Invalid || kind == reflect.Interface:
		return "is missing"
	}
	return "must not be empty"
}

func comparePhrase(b validator.FieldError, words [2]string) string {
	kind, param := b.Kind(), b.Param()
	var unit string
	switch {
	case kind == reflect.String:
		unit = "character"
	case isCollection(kind):
		unit = "item"
	case b.Type() == reflect.TypeFor[time.Time]():
		return "must be " + timeWords[b.Tag()] + " now"
	default:
		return strings.Join(strings.Fields("must be "+words[0]+" "+param), " ")
	}
	if param != "1" {
		unit += "s"
	}
	return fmt.Sprintf("must have %s %s %s", words[1], param, unit)
}

func isCollection(kind reflect.Kind) bool {
	return kind == reflect.Slice || kind == reflect.Array || kind == reflect.Map
}

// isLength reports whether a rule only counts the items of a value.
func isLength(b validator.FieldError) bool {
	_, compares := comparisons[b.Tag()]
	return compares && isCollection(b.Kind())
}

// choices separates the parameter of oneof: 'in stock' sold.
var choices = regexp.MustCompile(`'[^']*'|\S+`)

// Choices returns the values that the parameter of the rule oneof lists.
func Choices(param string) []string {
	all := choices.FindAllString(param, -1)
	for i, one := range all {
		all[i] = strings.ReplaceAll(one, "'", "")
	}
	return all
}
