package configs

import "time"

// Route is one kind of request. After Load every field has its value in force.
type Route struct {
	Upstream     string            `koanf:"upstream" required:"true" doc:"The upstream that serves it; may be left out if there is only one."`
	Method       string            `koanf:"method" doc:"The HTTP method."`
	Path         string            `koanf:"path" required:"true" doc:"The path under base_url, with {param} where a param goes: /movies/{id}."`
	Query        map[string]string `koanf:"query" key:"any" doc:"Query parameters, with {param} in the values; an entry whose params are all absent is left out."`
	Headers      map[string]string `koanf:"headers" key:"header" doc:"Headers, with {param} in the values; an entry whose params are all absent is left out."`
	Body         any               `koanf:"body" doc:"The JSON body: any value, in which the text \"{param}\" becomes the param's JSON value."`
	Params       map[string]Param  `koanf:"params" key:"param" doc:"The params; one that a template names but that is not declared here is required."`
	Key          []string          `koanf:"key" doc:"The params that make the cache key; empty: all of them. Fewer share more answers, but a param that changes the answer must be in it."`
	Urgency      int               `koanf:"urgency" min:"0" max:"7" doc:"The default urgency: 0 is served first, 7 last."`
	Timeout      time.Duration     `koanf:"timeout" min:"0s" max:"24h" doc:"From dispatch to the end of the answer; longer suits slow questions, shorter frees workers; 0: the upstream's timeouts.total."`
	OnAbandon    string            `koanf:"on_abandon" enum:"auto,finish,cancel" inherit:"on_abandon" doc:"What becomes of a call whose last client has gone: finish stores the answer, cancel stops the call, auto finishes safe methods and cancels others."`
	Cache        CachePolicy       `koanf:"cache" inherit:"cache" doc:"How answers are kept; what is not set comes from the upstream."`
	Batch        Batch             `koanf:"batch" doc:"How requests of this route travel together; without form they travel alone."`
	PricePerCall float64           `koanf:"price_per_call" min:"0" max:"1000000000" doc:"What one call costs, in a currency of your choice; it shows what was saved."`
}

// Param is one param of a route.
type Param struct {
	Required bool   `koanf:"required" doc:"Whether a request without it is refused."`
	Pattern  string `koanf:"pattern" type:"regexp" doc:"A regular expression (RE2) that the whole text must match."`
	Default  any    `koanf:"default" type:"scalar" doc:"The value when it is absent."`
	Doc      string `koanf:"doc" doc:"A sentence for GET /v1/routes."`
}

// Batch is how an upstream takes several requests in one call. Form "" means that it does not.
type Batch struct {
	Form      string        `koanf:"form" enum:",query,path,json_array,jsonrpc,graphql,input,mget" doc:"query and path join ids in the URL, json_array sends an array, jsonrpc a JSON-RPC 2.0 batch, graphql an array of operations, input an input array (embeddings APIs), mget a docs array (Elasticsearch)."`
	Method    string        `koanf:"method" doc:"The method of the batch call; default: GET for query and path, POST for the others."`
	Path      string        `koanf:"path" doc:"The path of the batch endpoint; default: the route's own path. For the form path it holds {param}."`
	Param     string        `koanf:"param" doc:"The route's param whose values are joined or listed."`
	Query     string        `koanf:"query" doc:"For the form query: the query parameter that takes the joined values; default: the name of param."`
	Separator string        `koanf:"separator" doc:"What stands between joined values."`
	ItemsPath string        `koanf:"items_path" doc:"Where the members are in the answer (tidwall/gjson path); empty: the answer is the list, or what the form prescribes."`
	IDPath    string        `koanf:"id_path" doc:"Where a member's id is inside it; it is compared with param's value."`
	By        string        `koanf:"by" enum:"id,order" doc:"Whether members are matched by id or by their order; id bears missing and reordered members."`
	ErrorPath string        `koanf:"error_path" doc:"Where a member's own error is inside it; empty: members have none."`
	MaxItems  int           `koanf:"max_items" min:"1" max:"10000" inherit:"max_items" doc:"The most requests in one call; as the API allows. More makes fewer calls, fewer keep calls short."`
	MaxBytes  Size          `koanf:"max_bytes" min:"0" max:"1GiB" doc:"The largest batch request, URL or body; as the API allows; 0: no limit."`
	Linger    time.Duration `koanf:"linger" min:"0s" max:"10s" inherit:"linger" doc:"The longest that a free worker waits for a fuller batch; longer makes fewer calls, shorter answers sooner."`
}
