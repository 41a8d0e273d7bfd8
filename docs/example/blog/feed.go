package main

import (
	"encoding/xml"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// feedEntries is the number of entries in the feed.
const feedEntries = 10

// atom is a feed (RFC 4287).
type atom struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	Title   string      `xml:"title"`
	ID      string      `xml:"id"`
	Updated string      `xml:"updated"`
	Author  string      `xml:"author>name"`
	Links   []atomLink  `xml:"link"`
	Entries []atomEntry `xml:"entry"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type atomEntry struct {
	Title     string   `xml:"title"`
	ID        string   `xml:"id"`
	Link      atomLink `xml:"link"`
	Published string   `xml:"published"`
	Updated   string   `xml:"updated"`
	Content   atomText `xml:"content"`
}

type atomText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

// feed is GET /feed.
func (p *pages) feed(ctx *fasthttp.RequestCtx) error {
	entries, err := p.store.entries(ctx, feedEntries)
	if err != nil {
		return err
	}
	site := server.Scheme(ctx) + "://" + string(ctx.Host())
	link := func(path string) string { return site + server.Link(ctx, path) }
	f := atom{Title: p.title, ID: link("/"), Author: p.title, Links: []atomLink{{Href: link("/")}, {Rel: "self", Href: link("/feed")}}}
	newest := time.Unix(0, 0).UTC()
	for _, e := range entries {
		if e.Updated.After(newest) {
			newest = e.Updated
		}
		page := link("/entry/" + url.PathEscape(e.Slug))
		f.Entries = append(f.Entries, atomEntry{
			Title: e.Title, ID: page, Link: atomLink{Href: page}, Content: atomText{"html", string(e.HTML)},
			Published: e.Published.Format(time.RFC3339), Updated: e.Updated.Format(time.RFC3339),
		})
	}
	f.Updated = newest.Format(time.RFC3339)
	text, err := xml.Marshal(f)
	if err != nil {
		return err
	}
	ctx.SetContentType("application/atom+xml; charset=utf-8")
	ctx.SetBody(append([]byte(xml.Header), text...))
	return nil
}
