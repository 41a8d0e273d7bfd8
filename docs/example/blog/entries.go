package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"github.com/yuin/goldmark"
)

// maxSlugs is the limit of entries whose titles make the same slug.
const maxSlugs = 1000

// entries returns the newest entries, at most limit. -1 means all.
func (s *store) entries(ctx context.Context, limit int) ([]entry, error) {
	return s.list(ctx, "ORDER BY published DESC, id DESC LIMIT ?", limit)
}

// entryBy finds an entry by a column, which is id or slug.
func (s *store) entryBy(ctx context.Context, column string, value any) (*entry, error) {
	found, err := s.list(ctx, "WHERE "+column+" = ?", value)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errNotFound
	}
	return &found[0], nil
}

// list returns the entries that a clause of SQL with one parameter selects.
func (s *store) list(ctx context.Context, clause string, value any) (all []entry, err error) {
	db, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT id, slug, title, markdown, html, published, updated FROM entries "+clause, value)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e entry
		var published, updated int64
		if err := rows.Scan(&e.ID, &e.Slug, &e.Title, &e.Markdown, &e.HTML, &published, &updated); err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		e.Published, e.Updated = time.Unix(published, 0).UTC(), time.Unix(updated, 0).UTC()
		all = append(all, e)
	}
	return all, rows.Err()
}

// save updates the entry whose id is e.ID, or adds one if e.ID is 0. It returns the slug,
// which does not change with the title. The error is errNotFound if there is no such entry.
func (s *store) save(ctx context.Context, by int64, e entry) (slug string, err error) {
	db, err := s.open(ctx)
	if err != nil {
		return "", err
	}
	if e.HTML, err = render(e.Markdown); err != nil {
		return "", err
	}
	now := time.Now().Unix()
	if e.ID != 0 {
		err := db.QueryRowContext(ctx, "UPDATE entries SET title = ?, markdown = ?, html = ?, updated = ? WHERE id = ? RETURNING slug",
			e.Title, e.Markdown, string(e.HTML), now, e.ID).Scan(&slug)
		return slug, notFound(err)
	}
	for n := range maxSlugs {
		slug := slugOf(e.Title)
		if n > 0 {
			slug = fmt.Sprintf("%s-%d", slug, n+1)
		}
		// The column is unique, so two processes cannot take the same slug.
		result, err := db.ExecContext(ctx, `INSERT INTO entries (author, slug, title, markdown, html, published, updated)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (slug) DO NOTHING`, by, slug, e.Title, e.Markdown, string(e.HTML), now, now)
		if err != nil {
			return "", fmt.Errorf("add entry: %w", err)
		}
		if added, err := result.RowsAffected(); err != nil || added == 1 {
			return slug, err
		}
	}
	return "", fmt.Errorf("add entry: there are %d entries with this title", maxSlugs)
}

// render converts Markdown to HTML. goldmark leaves out HTML that is in the text, and links
// that could run a script.
func render(markdown string) (template.HTML, error) {
	var html bytes.Buffer
	if err := goldmark.Convert([]byte(markdown), &html); err != nil {
		return "", fmt.Errorf("convert Markdown: %w", err)
	}
	return template.HTML(html.String()), nil //nolint:gosec // goldmark has escaped it
}

// slugOf returns the part of a URL for a title: its letters and digits in lower case, with
// hyphens between words.
func slugOf(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return "entry"
	}
	return strings.Join(words, "-")
}
