import * as v from "valibot";
import { CniError, CODE } from "./errors.ts";
import { checkVersion, isVersion, NEWEST, type Version } from "./versions.ts";

/** The plugin's configuration on stdin, as flannel-io/cni-plugin has it. */

const JsonObject = v.record(v.string(), v.unknown());
export type JsonObject = v.InferOutput<typeof JsonObject>;

const path = (byDefault: string) =>
  v.pipe(
    v.nullish(v.string(), ""),
    v.transform((text) => text || byDefault),
  );

const Conf = v.object({
  cniVersion: v.nullish(v.string()),
  name: v.pipe(v.string(), v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, "is no name of a network")),
  ipam: v.nullish(
    v.looseObject({
      type: v.optional(v.string()),
      dataDir: v.optional(v.string()),
      routes: v.nullish(v.array(v.looseObject({ dst: v.string() }))),
    }),
  ),
  subnetFile: path("/run/flannel/subnet.env"),
  dataDir: path("/var/lib/cni/flannel"),
  delegate: v.nullish(JsonObject),
  runtimeConfig: v.nullish(JsonObject),
  prevResult: v.nullish(JsonObject),
  "cni.dev/valid-attachments": v.nullish(v.array(v.object({ containerID: v.string(), ifname: v.string() }))),
});

type ConfOutput = v.InferOutput<typeof Conf>;

export interface PluginConf extends Omit<ConfOutput, "cniVersion"> {
  readonly version: Version;
  /** as it came: a delegate is told none where we were told none */
  readonly cniVersion: string | undefined;
}

/** Any JSON text. @throws CniError 6 */
function decode(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CniError("the configuration on stdin is no JSON", { code: CODE.decoding, cause });
  }
}

/** @throws CniError 6 if it is no JSON, 1 for its version, 7 with the field's name for the rest */
export function parseConf(text: string, verb: string): PluginConf {
  const json = decode(text);
  const named = v.safeParse(v.object({ cniVersion: v.nullish(v.string()) }), json);
  const version = checkVersion((named.success && named.output.cniVersion) || undefined, verb);
  const result = v.safeParse(Conf, json);
  if (!result.success) {
    const [issue] = result.issues;
    const what = `${v.getDotPath(issue) ?? "the configuration on stdin"}: ${issue.message}`;
    throw new CniError(`the configuration is not valid: ${what}`, { code: CODE.invalidConfig });
  }
  return { ...result.output, version, cniVersion: result.output.cniVersion || undefined };
}

/** The version in which an error is told: the configuration's, if that can be made out. */
export function versionForErrors(text: string): string {
  const Named = v.pipe(v.string(), v.parseJson(), v.object({ cniVersion: v.string() }));
  const named = v.safeParse(Named, text);
  return named.success && isVersion(named.output.cniVersion) ? named.output.cniVersion : NEWEST;
}
