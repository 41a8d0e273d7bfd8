package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

// shop returns a program with two flags of its own, and their values.
func shop(name string) (p *Program, greeting *string, loud *bool) {
	greeting, loud = new(string), new(bool)
	return &Program{Name: name, Flags: func(f *flag.FlagSet) {
		f.StringVar(greeting, "greeting", "Hello", "`word`")
		f.BoolVar(loud, "loud", false, "shout")
	}}, greeting, loud
}

// Own flags are read from the file, the environment and the command line. Apply sets a
// child's flags to the same values in the same order.
func TestOwnFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("conf", []byte("greeting Moin\nloud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		args    []string
		environ []string
		want    string
		own     []Setting
	}{
		{"shop", nil, nil, "Moin", []Setting{{"greeting", "Moin"}, {"loud", "true"}}},
		{"big-shop", nil, []string{"BIG_SHOP_GREETING=Salut", "GALE_GREETING=no"}, "Salut", []Setting{{"greeting", "Moin"}, {"loud", "true"}, {"greeting", "Salut"}}},
		{"", nil, []string{"GALE_GREETING=Salut"}, "Salut", []Setting{{"greeting", "Moin"}, {"loud", "true"}, {"greeting", "Salut"}}},
		{"shop", []string{"-greeting", "Hi"}, []string{"SHOP_GREETING=Salut"}, "Hi", []Setting{{"greeting", "Moin"}, {"loud", "true"}, {"greeting", "Salut"}, {"greeting", "Hi"}}},
	} {
		p, greeting, loud := shop(row.name)
		c, err := Load(Serve, p, append([]string{"-config", "conf"}, row.args...), row.environ)
		if err != nil || *greeting != row.want || !*loud || !slices.Equal(c.Own, row.own) {
			t.Errorf("%s %v: %q, %v, %v", row.name, row.args, *greeting, c.Own, err)
		}
		child, greeting, loud := shop(row.name)
		if err := child.Apply(c.Own); err != nil || *greeting != row.want || !*loud {
			t.Errorf("child of %s: %q, %v", row.name, *greeting, err)
		}
	}
	p, _, _ := shop("shop")
	if err := p.Apply([]Setting{{"loud", "perhaps"}}); err == nil {
		t.Error("Apply accepts an invalid value")
	}
}

// Flags is called once, however often the flags are read or described.
func TestFlagsAreDeclaredOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	calls := 0
	p := &Program{Name: "shop", Flags: func(f *flag.FlagSet) { calls++; f.Int("pages", 3, "`number` of pages") }}
	if _, err := Load(Serve, p, []string{"-pages", "9"}, nil); err != nil {
		t.Fatal(err)
	}
	described := p.FlagsOf(Worker)
	i := slices.IndexFunc(described, func(f Flag) bool { return f.Name == "pages" })
	if i < 0 || described[i].Variable != "SHOP_PAGES" || described[i].Default != "3" || described[i].Value != "number" {
		t.Errorf("described as %+v", described[max(i, 0)])
	}
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
}

func TestConfigurationThatIsTooLarge(t *testing.T) {
	t.Chdir(t.TempDir())
	p, _, _ := shop("shop")
	_, err := Load(Serve, p, []string{"-greeting", strings.Repeat("x", MaxSize)}, nil)
	if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 1 || !strings.Contains(faults[0], "more than the limit of") {
		t.Errorf("%.300v", err)
	}
}

// The embedded state server gets its own password and no other secrets.
func TestStateServerGetsLittle(t *testing.T) {
	c := Config{Token: "the-token", Redis: "redis://the-redis", Broker: "redis://the-broker", Own: []Setting{{"key", "the-key"}}, Store: Store{"127.0.0.1:1", "own"}}
	text, err := json.Marshal(c.ForStateServer())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"the-token", "the-redis", "the-broker", "the-key"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("it gets %s", secret)
		}
	}
	if !strings.Contains(string(text), "127.0.0.1:1") {
		t.Error("it does not get its address")
	}
}

// A child whose master has set none of the program's own flags has their defaults.
func TestApplyWithoutSettings(t *testing.T) {
	p, greeting, _ := shop("shop")
	if err := p.Apply(nil); err != nil || *greeting != "Hello" {
		t.Errorf("greeting %q, want Hello: %v", *greeting, err)
	}
}

// A process that reads its configuration again understands the application's flags as before,
// and does not set them.
func TestReadOnlyProgram(t *testing.T) {
	var greeting *string
	var loud *bool
	p := &Program{Name: "shop", Flags: func(s *flag.FlagSet) {
		greeting, loud = s.String("greeting", "hi", ""), s.Bool("loud", false, "")
	}}
	p.ownFlags()
	c, err := Load(Serve, p.ReadOnly(), []string{"-greeting", "hello", "-loud", "-data", t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Setting{{"greeting", "hello"}, {"loud", "true"}}; !slices.Equal(c.Own, want) || *greeting != "hi" || *loud {
		t.Errorf("%v, and the flags are %q and %v", c.Own, *greeting, *loud)
	}
}
