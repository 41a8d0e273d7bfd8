package routes

import (
	"reflect"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/server"
)

// describeChannels describes the routes of channels.
func describeChannels() openapi.Group {
	channel := openapi.Path("channel", "Name of a channel; names that begin with a dot are reserved for the server.")
	since := openapi.Query("since", "Sequence number of the last message that the client has; the server sends the messages after it.", &openapi.Schema{Type: "integer", Minimum: new(int)})
	return openapi.Group{
		Name: "channels", Description: "Channels, which deliver messages to the subscribers of all processes and machines.",
		Types: []openapi.Type{{
			Name: "ChannelMessage", Description: "A message of a channel, or an event of the subscription.", Go: reflect.TypeFor[note](),
			Fields: map[string]openapi.Schema{
				"channel": says("Name of the channel."), "seq": says("Sequence number of the message in its channel."),
				"event": words("Event of the subscription; missing in a message.", "subscribed", "gap"),
				"gap":   says("True if messages before this sequence number are lost."), "data": {Description: "The message.", Type: "string"},
			},
		}},
		Operations: map[string][]openapi.Operation{
			"GET /longpoll": {{
				ID: "longPoll", Summary: "Wait for news",
				Description: "The response starts at once and ends when a message is published to the channel news, or when the time is up.",
				Parameters:  []openapi.Parameter{openapi.Query("s", "Maximum waiting time, in seconds or as a Go duration: at most 60 s, by default 10 s.", openapi.Text())},
				Responses:   map[string]*openapi.Response{"200": openapi.Body("Two sentences: "+waitingText+" and at the end "+newsText, textPlain, openapi.Text())},
				Problems:    []int{400, 503},
			}},
			"GET /channels/{channel}": {withSocket(openapi.Operation{
				ID: "subscribeByWebSocket", Access: openapi.Handshake, Summary: "Subscribe to a channel by WebSocket",
				Description: "The server sends a ChannelMessage for the subscription, for each message and for each gap. It accepts no messages.",
				Parameters:  []openapi.Parameter{channel, since},
			})},
			"GET /events/{channel}": {{
				ID: "subscribe", Access: openapi.Read, Summary: "Subscribe to a channel by server-sent events",
				Description: "The data of an event is the message, and its id is the sequence number. A temporary fault ends the stream with status 200, so that an EventSource reconnects.",
				Parameters: []openapi.Parameter{channel, since,
					openapi.Field("Last-Event-ID", "Sequence number of the last message that the client has; it has precedence over since.", &openapi.Schema{Type: "integer", Minimum: new(int)})},
				Responses: map[string]*openapi.Response{"200": openapi.Body("An event stream (HTML standard, section 9.2).", server.EventStream, openapi.Text())},
				Problems:  []int{400},
			}},
			"POST /publish/{channel}": {{
				ID: "publish", Access: openapi.Write, Summary: "Publish a message",
				Description: "Subscribers in all processes and on all machines receive the message.",
				Parameters:  []openapi.Parameter{channel},
				RequestBody: &openapi.RequestBody{Description: "The message, in UTF-8.", Content: map[string]openapi.MediaType{anyBytes: {}}},
				Responses:   map[string]*openapi.Response{"200": openapi.JSON("The sequence number of the message.", openapi.Ref("ChannelMessage"))},
				Problems:    []int{400, 413, 415, 503},
			}},
		},
	}
}
