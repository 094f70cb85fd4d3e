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
	Preload      PreloadPolicy     `koanf:"preload" doc:"What of the route may be fetched ahead."`
	Batch        Batch             `koanf:"batch" doc:"How requests of this route travel together; without form they travel alone."`
	PricePerCall float64           `koanf:"price_per_call" min:"0" max:"1000000000" doc:"What one call costs, in a currency of your choice; it shows what was saved."`
}

// PreloadPolicy is what a route, or an upstream's proxy path, says about fetching ahead.
type PreloadPolicy struct {
	Enabled bool   `koanf:"enabled" doc:"Whether its requests are learned from and fetched ahead; off for what a GET changes, or what is too dear to be fetched in vain."`
	Share   bool   `koanf:"share" doc:"Whether what all tenants ask for is learned together; on learns faster, where the answers are the same for all, but one tenant's habits then show in what is fetched for another."`
	Links   []Link `koanf:"links" doc:"Which routes the ids in its answers lead to. Links are also found by watching; a declared one is known from the start."`
}

// Link is one way from an answer to the requests that it leads to.
type Link struct {
	From  string `koanf:"from" required:"true" doc:"The place of the ids in the JSON answer, with [] for each list: movies[].id, [].id."`
	Route string `koanf:"route" required:"true" doc:"The declared route that is asked for with an id."`
	Param string `koanf:"param" doc:"The param of that route that takes the id; empty: id."`
}

// Param is one param of a route.
type Param struct {
	Required bool   `koanf:"required" doc:"Whether a request without it is refused."`
	Pattern  string `koanf:"pattern" type:"regexp" doc:"A regular expression (RE2) that the whole text must match."`
	Default  any    `koanf:"default" type:"scalar" doc:"The value when it is absent."`
	Doc      string `koanf:"doc" doc:"A sentence for GET /v1/routes."`
}

// Batch is how an upstream takes several requests in one call: the batcher's rule, key by key. What
// is empty has the default of its form.
type Batch struct {
	Form          string            `koanf:"form" enum:",query,path,json_array,jsonrpc,graphql,input,mget" doc:"How the batch is written: query and path join ids in the URL, json_array sends an array, jsonrpc a JSON-RPC 2.0 batch, graphql an array of operations, input an input array (embeddings APIs), mget Elasticsearch's _mget. Empty: requests travel alone."`
	Param         string            `koanf:"param" doc:"The route's param that carries the id; needed for query, path and mget."`
	Method        string            `koanf:"method" doc:"The method of the batch call; empty: GET for query and path, else POST."`
	Path          string            `koanf:"path" doc:"The path of the batch call under base_url, a template of the route's other params; for the form path, {param} stands for the joined ids."`
	Query         map[string]string `koanf:"query" key:"any" doc:"More query parameters of the batch call, templates of the other params."`
	Name          string            `koanf:"name" doc:"The query parameter that carries the ids (form query); empty: ids."`
	Separator     string            `koanf:"separator" doc:"What stands between ids (forms query and path); empty: a comma. An id that contains it travels alone."`
	Repeat        bool              `koanf:"repeat" doc:"Whether the parameter is repeated (name=1&name=2) instead of joined (form query)."`
	Body          any               `koanf:"body" type:"object" doc:"Fixed fields of the batch's JSON body (forms json_array and mget)."`
	ArrayPath     string            `koanf:"array_path" doc:"Where in the body the array stands (sjson path); empty: as the form has it."`
	Item          any               `koanf:"item" doc:"The template of one element of the array (forms json_array and mget); empty: the id."`
	By            string            `koanf:"by" enum:",id,order,key" doc:"How the answer is split: by id bears missing and reordered items, by order does not, by key reads an object whose keys are the ids; empty: as the form has it."`
	ItemsPath     string            `koanf:"items_path" doc:"Where the items stand in the answer (gjson path); empty: as the form has it."`
	IDPath        string            `koanf:"id_path" doc:"Where an item carries its id (gjson path); empty: as the form has it, mostly id."`
	ItemPath      string            `koanf:"item_path" doc:"What of an item is the member's body (gjson path); empty: the whole item."`
	StatusPath    string            `koanf:"status_path" doc:"Where an item carries an HTTP status of its own (gjson path); empty: nowhere."`
	ErrorPath     string            `koanf:"error_path" doc:"What marks an item as a failure if it is there (gjson path); empty: nothing, but error for mget."`
	ErrorStatus   int               `koanf:"error_status" min:"400" max:"599" doc:"The status of such a member; unset: 502."`
	MissingStatus int               `koanf:"missing_status" min:"400" max:"502" doc:"The status of a member that the answer leaves out, 400 to 499 or 502; unset: 404."`
	RetryMissing  bool              `koanf:"retry_missing" doc:"Whether a missing member is asked for once more, alone; on gives it the API's own words, off saves a call for each."`
	MaxItems      int               `koanf:"max_items" min:"2" max:"10000" inherit:"max_items" doc:"The most items in one call, as the API allows; more makes fewer calls, fewer keep calls short."`
	MaxBytes      Size              `koanf:"max_bytes" min:"0" max:"1GiB" doc:"The largest URL or body of the call, as the API allows; 0: 4KiB for query and path, else 1MiB."`
	IgnoreHeaders []string          `koanf:"ignore_headers" type:"header" doc:"Request headers that may differ between members; never one that decides what a client may see."`
	SplitOn       []int             `koanf:"split_on" min:"400" max:"599" doc:"The statuses after which a batch is halved and tried again, since one member may be at fault; unset: 400, 404, 410, 413, 414, 422."`
}
