import {
  isCniVersion as isVersion,
  CNI_VERSIONS as VERSIONS,
  type CniVersion as Version,
} from "../config/cni-versions.ts";
import { CniError, CODE } from "./errors.ts";

export { isVersion, VERSIONS, type Version };

export const NEWEST: Version = "1.1.0";

/** What a configuration means that names no version. */
const UNNAMED: Version = "0.1.0";

/** The first version that has the verb. */
const SINCE: Readonly<Record<string, Version>> = { CHECK: "0.4.0", STATUS: "1.1.0", GC: "1.1.0" };

/** @throws CniError 1 if the configuration's version is unknown, or older than the verb */
export function checkVersion(cniVersion: string | undefined, verb: string): Version {
  const version = cniVersion || UNNAMED;
  if (!isVersion(version)) {
    const details = `cniVersion is ${version}; this plugin speaks ${VERSIONS.join(", ")}`;
    throw new CniError("incompatible CNI versions", { code: CODE.incompatibleVersion, details });
  }
  const since = SINCE[verb];
  if (since !== undefined && !atLeast(version, since)) {
    const details = `it is ${version}, ${verb} came with ${since}`;
    const message = `the configuration's cniVersion does not allow ${verb}`;
    throw new CniError(message, { code: CODE.incompatibleVersion, details });
  }
  return version;
}

export function atLeast(version: Version, other: Version): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(other);
}
