import * as v from "valibot";

// What etcd's JSON gateway answers: 64-bit numbers as texts, bytes in base64, what is zero or empty left out.

/** Of an etcd lease: 64 bits, so it stays a text. */
export type LeaseId = string;

/** A key with its value, as etcd has it at some revision. */
export interface KeyValue {
  /** the key in base64: unlike the text, it is certain to be this key's alone */
  readonly id: string;
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** undefined: the key lives until somebody deletes it */
  readonly leaseId: LeaseId | undefined;
}

export const encodeText = (text: string): string => Buffer.from(text).toString("base64");

/** Bytes that are no UTF-8 become replacement characters. */
const decodeText = (encoded: string): string => Buffer.from(encoded, "base64").toString();

const bytes = v.optional(v.pipe(v.string(), v.base64()), "");

const revision = v.optional(v.pipe(v.union([v.string(), v.number()]), v.transform(Number), v.safeInteger()), 0);
const id = v.optional(v.pipe(v.union([v.string(), v.number()]), v.transform(String)), "0");

const headerSchema = v.object({ cluster_id: id, revision });

const keyValueSchema = v.pipe(
  v.object({ key: bytes, value: bytes, create_revision: revision, mod_revision: revision, lease: id }),
  v.transform(
    ({ key, value, create_revision, mod_revision, lease }): KeyValue => ({
      id: key,
      key: decodeText(key),
      value: decodeText(value),
      createRevision: create_revision,
      modRevision: mod_revision,
      leaseId: lease === "0" ? undefined : lease,
    }),
  ),
);

export const rangeSchema = v.object({
  header: headerSchema,
  kvs: v.optional(v.array(keyValueSchema), []),
  more: v.optional(v.boolean(), false),
});

/** Of the operations only reads are looked into. */
export const txnSchema = v.object({
  header: headerSchema,
  succeeded: v.optional(v.boolean(), false),
  responses: v.optional(v.array(v.object({ response_range: v.optional(rangeSchema) })), []),
});

const ttl = v.optional(v.pipe(v.union([v.string(), v.number()]), v.transform(Number)), 0);

export const grantSchema = v.object({ ID: id, TTL: ttl });
export const keepAliveSchema = v.object({ result: v.object({ ID: id, TTL: ttl }) });
export const revokeSchema = v.object({});
export const authenticateSchema = v.object({ token: v.pipe(v.string(), v.nonEmpty()) });

/** A refusal, under names that differ between etcd's versions. */
const statusSchema = v.pipe(
  v.object({ code: v.optional(v.number()), grpc_code: v.optional(v.number()), message: v.string() }),
  v.transform(({ code, grpc_code, message }) => ({ code: code ?? grpc_code ?? 0, message })),
);
const streamErrorSchema = v.pipe(
  v.object({ error: statusSchema }),
  v.transform(({ error }) => error),
);

/** A refusal as a whole answer; one of a stream is wrapped once more. */
export const refusalSchema = v.union([streamErrorSchema, statusSchema]);
export type Refusal = v.InferOutput<typeof refusalSchema>;

const eventSchema = v.pipe(
  v.object({ type: v.optional(v.string(), "PUT"), kv: keyValueSchema }),
  v.transform(({ type, kv }) => ({ deleted: type === "DELETE", kv })),
);

/** One line of a watch's stream. */
export const watchSchema = v.union([
  v.object({
    result: v.object({
      header: headerSchema,
      watch_id: id,
      created: v.optional(v.boolean(), false),
      canceled: v.optional(v.boolean(), false),
      cancel_reason: v.optional(v.string(), ""),
      compact_revision: revision,
      events: v.optional(v.array(eventSchema), []),
    }),
  }),
  v.object({ error: statusSchema }),
]);

export type WatchResult = Extract<v.InferOutput<typeof watchSchema>, { result: unknown }>["result"];
