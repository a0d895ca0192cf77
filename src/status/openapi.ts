import { toJsonSchema, toJsonSchemaDefs } from "@valibot/to-json-schema";
import type * as v from "valibot";
import { LogLevel, ResyncAsked } from "../api/commands.ts";
import { Event, EventList } from "../api/events.ts";
import * as kernel from "../api/kernel.ts";
import * as leases from "../api/leases.ts";
import * as peers from "../api/peers.ts";
import { QUERY, type QueryName, type QueryParameter } from "../api/queries.ts";
import { RESOURCES, type Resource, type ResourceName } from "../api/resources.ts";
import { Rule, Rules, RulesInFull } from "../api/rules.ts";
import * as state from "../api/state.ts";
import { ApiError, Finding } from "../api/values.ts";

/**
 * What can be asked of an agent, as an OpenAPI document. It follows from the schemas that also check and type it; it is
 * imported once somebody asks.
 */

type Json = Readonly<Record<string, unknown>>;

/** Schemas that have a name in the document; where one is part of another it is referred to. */
const { Apply, Change, Desired, DesiredDevice, Diff, Entry, Failure, KernelDevice, KernelState } = kernel;
const { Lease, LeaseCounts, LeaseList, LeaseSource, OwnLease, RejectedLease } = leases;
const { Peer, PeerCounts, PeerList, PeerState, ProbePath, ProbeResult, Verdict } = peers;
const { Backend, CniConf, Config, ExternalInterface, Health, NetworkRange, Process, Readiness, Reconcile, State } =
  state;
const SCHEMAS = {
  ...{ ApiError, Apply, Backend, Change, CniConf, Config, Desired, DesiredDevice, Diff, Entry, Event, EventList },
  ...{ ExternalInterface, Failure, Finding, Health, KernelDevice, KernelState, Lease, LeaseCounts, LeaseList },
  ...{ LeaseSource, LogLevel, NetworkRange, OwnLease, Peer, PeerCounts, PeerList, PeerState, ProbePath, ProbeResult },
  ...{ Process, Readiness, Reconcile, RejectedLease, ResyncAsked, Rule, Rules, RulesInFull, State, Verdict },
} as const satisfies Readonly<Record<string, v.GenericSchema>>;

const NAMES = new Map<v.GenericSchema, string>(Object.entries(SCHEMAS).map(([name, schema]) => [schema, name]));

const CONVERSION = {
  target: "draft-2020-12",
  errorMode: "throw",
  overrideRef: ({ referenceId }: { referenceId: string }) => `#/components/schemas/${referenceId}`,
} as const;

const ERRORS: Readonly<Record<number, string>> = {
  400: "the query or the body is not right; the message says what would be",
  403: "a command, which is taken at --debug-socket only",
  404: "no such node",
  405: "the method is none of those in the Allow header",
  413: "the body is too large",
  415: "the body is no JSON",
  421: "the Host header names another host (TCP only)",
  500: "a fault of the agent",
  503: "not yet, or too many at a time; the message says what is in the way",
};

function schemaOf(schema: v.GenericSchema): Json {
  const name = NAMES.get(schema);
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` };
  const { $schema, ...json } = toJsonSchema(schema, CONVERSION);
  return json as Json;
}

const jsonContent = (schema: v.GenericSchema): Json => ({ "application/json": { schema: schemaOf(schema) } });

function errors(...statuses: readonly number[]): Json {
  // These any request may get.
  const all = [...statuses, 405, 421, 500].sort((a, b) => a - b);
  return Object.fromEntries(all.map((status) => [status, { $ref: `#/components/responses/${status}` }]));
}

function queryParameter(name: QueryName): Json {
  const { description, json, list }: QueryParameter = QUERY[name];
  return { name, in: "query", description, schema: json, ...(list ? { style: "form", explode: false } : {}) };
}

const PRETTY = queryParameter("pretty");

const LAST_EVENT_ID: Json = {
  name: "Last-Event-ID",
  in: "header",
  description: "of a live stream: the last event that the reader has",
  schema: { type: "integer", minimum: 0 },
};

const NODE: Json = {
  name: "node",
  in: "path",
  required: true,
  description: "a node's name, or its lease's key",
  schema: { type: "string" },
};

function readOperation(name: ResourceName): Json {
  const { path, summary, schema, query }: Resource = RESOURCES[name];
  const isStream = query.includes("follow");
  // An event's node may be gone; elsewhere a node has a lease.
  const namesNode = path.includes(":node") || (query.includes("node") && !isStream);
  const stream = {
    "text/event-stream": {
      schema: {
        type: "string",
        description: "messages whose id, event and data are the event's id, its kind and the event as JSON in one line",
      },
    },
  };
  return {
    operationId: `get${name.charAt(0).toUpperCase()}${name.slice(1)}`,
    summary,
    tags: ["read"],
    parameters: [
      ...(path.includes(":node") ? [NODE] : []),
      ...query.map(queryParameter),
      PRETTY,
      ...(isStream ? [LAST_EVENT_ID] : []),
    ],
    responses: {
      200: { description: summary, content: { ...jsonContent(schema), ...(isStream ? stream : {}) } },
      ...errors(400, ...(namesNode ? [404] : []), ...(name === "interface" || query.includes("limit") ? [503] : [])),
    },
  };
}

function health(operationId: string, summary: string, good: string, bad: string, schema: v.GenericSchema): Json {
  return {
    operationId,
    summary,
    tags: ["health"],
    responses: {
      200: { description: good, content: jsonContent(schema) },
      503: { description: bad, content: jsonContent(schema) },
      ...errors(),
    },
  };
}

function text(operationId: string, summary: string, ...types: readonly string[]): Json {
  const schema = { type: "string" };
  const content = Object.fromEntries(types.map((type) => [type, { schema }]));
  return { operationId, summary, tags: ["read"], responses: { 200: { description: summary, content }, ...errors() } };
}

function paths(): Json {
  const read = (Object.keys(RESOURCES) as ResourceName[]).map((name) => {
    return [RESOURCES[name].path.replace(/:(\w+)/, "{$1}"), { get: readOperation(name) }];
  });
  return {
    ...Object.fromEntries(read),
    "/healthz": { get: health("getHealth", "whether the loop turns", "it turns", "it has got stuck", Health) },
    "/readyz": {
      get: health("getReadiness", "whether pods have their network", "they have", "they have not", Readiness),
    },
    "/metrics": { get: text("getMetrics", "metrics for Prometheus", "text/plain", "application/openmetrics-text") },
    "/": { get: text("getPage", "the mesh page, for browsers", "text/html") },
    "/openapi.json": {
      get: {
        operationId: "getDescription",
        summary: "this document",
        tags: ["read"],
        parameters: [PRETTY],
        responses: {
          200: { description: "OpenAPI 3.1", content: { "application/json": { schema: { type: "object" } } } },
          ...errors(400),
        },
      },
    },
    "/debug/resync": {
      post: {
        operationId: "resync",
        summary: "read the kernel's state and the rules anew, and mend what is not right; at --debug-socket only",
        tags: ["command"],
        responses: {
          202: { description: "the loop knows of it", content: jsonContent(ResyncAsked) },
          ...errors(400, 403),
        },
      },
    },
    "/debug/log-level": {
      put: {
        operationId: "setLogLevel",
        summary: "set the log's level until the agent ends; at --debug-socket only",
        tags: ["command"],
        requestBody: { required: true, content: jsonContent(LogLevel) },
        responses: {
          200: { description: "the level from now on", content: jsonContent(LogLevel) },
          ...errors(400, 403, 413, 415),
        },
      },
    },
  };
}

/** @param version of the program */
export function describeApi(version: string): Json {
  const responses = Object.entries(ERRORS).map(([status, description]) => {
    const allow = { Allow: { description: "the methods", schema: { type: "string" } } };
    return [status, { description, content: jsonContent(ApiError), ...(status === "405" ? { headers: allow } : {}) }];
  });
  return {
    openapi: "3.1.1",
    info: {
      title: "tartan's debug API",
      version,
      description:
        "The agent of one node, as it is seen from within. Times are RFC 3339 in UTC, durations milliseconds. A field " +
        "without a value is null; only the parts of an address family may be missing. Further fields may be added.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "where this document is from" }],
    security: [],
    tags: [
      { name: "read", description: "what the agent knows" },
      { name: "health", description: "for probes" },
      { name: "command", description: "at --debug-socket only" },
    ],
    paths: paths(),
    components: { schemas: toJsonSchemaDefs(SCHEMAS, CONVERSION), responses: Object.fromEntries(responses) },
  };
}
