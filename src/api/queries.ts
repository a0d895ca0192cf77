import * as v from "valibot";
import { EventKind } from "./events.ts";
import { FamilyName } from "./values.ts";

/** What the query parameters take. Each is a text; one that is not there is undefined. */

/** All events that are kept stand on one page, so that the newest are on the first. */
export const LIMIT_DEFAULT = 1000;
const LIMIT_MOST = 10_000;

const DIGITS = /^\d{1,15}$/;

function wholeNumber(least: number, most: number) {
  const allowed = `must be a whole number from ${least} to ${most}`;
  return v.pipe(
    v.string(allowed),
    v.regex(DIGITS, allowed),
    v.transform(Number),
    v.minValue(least, allowed),
    v.maxValue(most, allowed),
  );
}

const YesOrNo = v.pipe(
  v.picklist(["true", "false", ""], "must be true or false"),
  v.transform((text) => text !== "false"),
);

const Name = v.pipe(v.string(), v.nonEmpty("must not be empty"));

const SINCE = "must be an event's id, or a time as in 2026-01-31T12:00:00Z";

/** The id of an event, or a time in milliseconds since the epoch. */
const Since = v.pipe(
  v.string(),
  v.union(
    [
      v.pipe(
        v.string(),
        v.regex(DIGITS),
        v.transform((text) => ({ id: Number(text) })),
      ),
      v.pipe(
        v.string(),
        v.isoTimestamp(),
        v.transform((text) => ({ time: Date.parse(text) })),
      ),
    ],
    SINCE,
  ),
);

const EventKinds = v.pipe(
  v.string(),
  v.transform((text) => text.split(",")),
  v.array(v.picklist(EventKind.options, `must be among ${EventKind.options.join(", ")}`)),
);

export interface QueryParameter {
  readonly description: string;
  readonly schema: v.GenericSchema<string, unknown>;
  /** JSON schema of its value, for the description of the API */
  readonly json: Readonly<Record<string, unknown>>;
  /** a list separated by commas */
  readonly list?: true;
}

export const QUERY = {
  family: {
    description: "only what is of this family",
    schema: v.picklist(FamilyName.options, "must be ipv4 or ipv6"),
    json: { type: "string", enum: FamilyName.options },
  },
  node: {
    description: "only what is of this node: its name, or its lease's key",
    schema: Name,
    json: { type: "string", minLength: 1 },
  },
  kind: {
    description: "only events of these kinds",
    schema: EventKinds,
    json: { type: "array", minItems: 1, items: { type: "string", enum: EventKind.options } },
    list: true,
  },
  since: {
    description: "only events after the one with this id, or after this time",
    schema: Since,
    json: {
      oneOf: [
        { type: "integer", minimum: 0 },
        { type: "string", format: "date-time" },
      ],
    },
  },
  follow: {
    description: "go on as a live stream (text/event-stream)",
    schema: YesOrNo,
    json: { type: "boolean", default: false },
  },
  limit: {
    description: "most items of a page",
    schema: wholeNumber(1, LIMIT_MOST),
    json: { type: "integer", minimum: 1, maximum: LIMIT_MOST, default: LIMIT_DEFAULT },
  },
  offset: {
    description: "items to leave out at the beginning",
    schema: wholeNumber(0, 1e9),
    json: { type: "integer", minimum: 0, maximum: 1e9, default: 0 },
  },
  pretty: {
    description: "indented, as curl and wget get it anyway",
    schema: YesOrNo,
    json: { type: "boolean" },
  },
} as const satisfies Readonly<Record<string, QueryParameter>>;

export type QueryName = keyof typeof QUERY;

type Query = { readonly [Name in QueryName]?: v.InferOutput<(typeof QUERY)[Name]["schema"]> };

/** The query of one request: what was not given is undefined. */
export type ResourceQuery = Query;
