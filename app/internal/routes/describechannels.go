package routes

import (
	"reflect"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/server"
)

// describeChannels describes the routes of channels.
func describeChannels() openapi.Group {
	channel := openapi.Path("channel", "Name of a channel; names that begin with a dot are the server's own.")
	since := openapi.Query("since", "Number of the last message that the client has; those after it follow.", &openapi.Schema{Type: "integer", Minimum: new(int)})
	return openapi.Group{
		Name: "channels", Description: "Messages between clients of all processes and machines.",
		Types: []openapi.Type{{
			Name: "ChannelMessage", Description: "A message of a channel, or what happened to a subscription.", Go: reflect.TypeFor[note](),
			Fields: map[string]openapi.Schema{
				"channel": says("Name of the channel."), "seq": says("Number of the message in its channel."),
				"event": words("What happened, where it is not a message.", "subscribed", "gap"),
				"gap":   says("Messages before this number are lost."), "data": {Description: "The message.", Type: "string"},
			},
		}},
		Operations: map[string][]openapi.Operation{
			"GET /longpoll": {{
				ID: "longPoll", Summary: "Wait for news",
				Description: "The response begins at once and ends when a message is published to the channel news, or when the time is up.",
				Parameters:  []openapi.Parameter{openapi.Query("s", "Longest wait: seconds, or a Go duration; 10 s if it is missing, at most 60 s.", openapi.Text())},
				Responses:   map[string]*openapi.Response{"200": openapi.Body("Two sentences: "+waitingText+" and "+newsText, textPlain, openapi.Text())},
				Problems:    []int{400, 503},
			}},
			"GET /channels/{channel}": {withSocket(openapi.Operation{
				ID: "subscribeByWebSocket", Access: openapi.Handshake, Summary: "Subscribe to a channel by WebSocket",
				Description: "The server sends a ChannelMessage for the subscription, for each message and for each gap, and takes no messages.",
				Parameters:  []openapi.Parameter{channel, since},
			})},
			"GET /events/{channel}": {{
				ID: "subscribe", Access: openapi.Read, Summary: "Subscribe to a channel by server-sent events",
				Description: "The data of an event is the message and its id the number, and a fault that passes ends the stream with 200 so that an EventSource connects again.",
				Parameters: []openapi.Parameter{channel, since,
					openapi.Field("Last-Event-ID", "Number of the last message that the client has; it comes before since.", &openapi.Schema{Type: "integer", Minimum: new(int)})},
				Responses: map[string]*openapi.Response{"200": openapi.Body("A stream of events, as in the HTML standard.", server.EventStream, openapi.Text())},
				Problems:  []int{400},
			}},
			"POST /publish/{channel}": {{
				ID: "publish", Access: openapi.Write, Summary: "Publish a message",
				Description: "Subscribers in all processes and on all machines receive the message.",
				Parameters:  []openapi.Parameter{channel},
				RequestBody: &openapi.RequestBody{Description: "The message, in UTF-8.", Content: map[string]openapi.MediaType{anyBytes: {}}},
				Responses:   map[string]*openapi.Response{"200": openapi.JSON("The number of the message.", openapi.Ref("ChannelMessage"))},
				Problems:    []int{400, 413, 415, 503},
			}},
		},
	}
}
