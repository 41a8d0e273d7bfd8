package config

import (
	"slices"
	"strings"
	"testing"
)

func TestCelery(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load(Serve, program, []string{"-celery", "redis://a:6379/3", "-celery-queues", "celery, media", "-celery-prefix", "app:"}, nil)
	if err != nil || c.Celery != "redis://a:6379/3" || !slices.Equal(c.CeleryQueues, []string{"celery", "media"}) || c.CeleryPrefix != "app:" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Load(Serve, program, nil, nil); err != nil || c.Celery != "" {
		t.Errorf("without flags: %q, %v", c.Celery, err)
	}
	for args, want := range map[string]string{
		"-celery amqp://user:s3cret@host":                     "-celery: not a Redis address",
		"-celery redis://:s3cret@a,redis://:s3cret@b":         "-celery: use one address",
		"-celery redis://a -celery-results http://x:s3cret@b": "-celery-results: not a Redis address",
		"-celery redis://a -celery-queues ,":                  "-celery-queues: is empty",
		"-celery redis://a -celery-queues a;b":                `-celery-queues: "a;b"`,
		"-celery-queues media":                                "-celery-queues: needs -celery",
		"-celery-prefix x":                                    "-celery-prefix: needs -celery",
		"-celery redis://a -workers 0":                        "-celery: the workers take the messages",
		"-celery redis://a -redis redis://b":                  "-celery: the workers take the messages",
	} {
		_, err := Load(Serve, program, strings.Fields(args), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if _, err := Load(Worker, program, []string{"-celery", "redis://a", "-broker", "redis://b", "-workers", "0"}, nil); err != nil && strings.Contains(err.Error(), "-celery") {
		t.Errorf("server worker: %v", err)
	}
}
