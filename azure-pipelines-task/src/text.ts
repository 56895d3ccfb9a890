/** Make foreign text safe for the agent: lines remain lines, and no line becomes a command. */

/**
 * Characters of one line of the log. A longer line is cut, with the number of dropped characters.
 */
export const MAX_LINE = 8192;

const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Cs}/gu;

/**
 * Escape terminal sequences, invisible characters, and `##vso[` or `##[`, which the agent obeys
 * anywhere in a line.
 * `tame` in acr_cleanup/runtimes/base.py does the same, but the container engine prints lines of
 * its own.
 */
export function tame(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(CONTROL, escaped).replace(/#(?=#)/g, "# ");
}

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Cut a text to `limit` characters. */
export function cut(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}

/** Split a stream into safe lines. The length of a line is limited, in case it never ends. */
export class Lines {
  private line = "";
  private dropped = 0;
  private afterReturn = false;

  constructor(private readonly show: (line: string) => void) {}

  /** Add the next chunk of the stream, which may end within a line. */
  add(text: string): void {
    // A carriage return ends a line too: progress bars use it to overwrite the line.
    for (const [index, part] of text.split(/(\r\n|\n|\r)/).entries()) {
      if (index % 2 === 0) {
        if (part) {
          this.afterReturn = false;
          const room = Math.max(0, MAX_LINE - this.line.length);
          this.line += part.slice(0, room);
          this.dropped += Math.max(0, part.length - room);
        }
      } else if (this.afterReturn && part === "\n") {
        this.afterReturn = false;
      } else {
        this.flush(true);
        this.afterReturn = part === "\r";
      }
    }
  }

  /** End the stream, and show its last line. */
  end(): void {
    this.flush(false);
  }

  private flush(ended: boolean): void {
    if (ended || this.line) {
      const more = this.dropped ? `… (${this.dropped} more characters)` : "";
      this.show(tame(this.line) + more);
    }
    this.line = "";
    this.dropped = 0;
  }
}
