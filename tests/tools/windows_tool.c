/* Two programs for trying provision.cmd under Wine; which of them it is, its name says.
 *
 * findstr.exe: as much of Windows' own as the script uses (/i /b /x, /c:TEXT), since Wine's may be a stub that finds everything.
 * tool.exe:    hands its arguments to icewarp_tool.py. A Windows program cannot wait for one of Unix, so they go through files: the
 *              arguments, a line each, to $RELAY/N.call; the answer comes as $RELAY/N.answer, exit code first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static int findstr(int argc, char **argv) {
  int begin = 0, exact = 0, found = 0;
  char line[8192];
  for (int i = 1; i < argc; i++) {
    begin |= !strcmp(argv[i], "/b");
    exact |= !strcmp(argv[i], "/x");
  }
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\r\n")] = 0;
    for (int i = 1; i < argc; i++) {
      if (strncmp(argv[i], "/c:", 3)) continue;
      const char *text = argv[i] + 3;
      int is_there = exact ? !stricmp(line, text) : !strnicmp(line, text, strlen(text));
      if (!begin && !exact) return 2; /* not used, so not made */
      if (is_there) {
        found = 1;
        puts(line);
      }
    }
  }
  return !found;
}

static int tool(int argc, char **argv) {
  char path[MAX_PATH], held[MAX_PATH];
  const char *relay = getenv("RELAY");
  if (!relay) return 70;
  /* Wine gives a number to one process after the other: the time tells them apart. */
  snprintf(held, sizeof held, "%s\\%lu-%lu.held", relay, GetCurrentProcessId(), GetTickCount());
  FILE *call = fopen(held, "wb");
  if (!call) return 71;
  for (int i = 1; i < argc; i++) fprintf(call, "%s\n", argv[i]);
  fclose(call);
  strcpy(path, held);
  strcpy(strrchr(path, '.'), ".call");
  if (!MoveFileA(held, path)) return 72;
  strcpy(strrchr(path, '.'), ".answer");
  FILE *answer = NULL;
  for (int tries = 0; !answer && tries < 3000; tries++) {
    answer = fopen(path, "rb");
    if (!answer) Sleep(10);
  }
  if (!answer) return 73;
  char line[65536];
  int code = fgets(line, sizeof line, answer) ? atoi(line) : 74;
  while (fgets(line, sizeof line, answer)) fputs(line, stdout);
  fclose(answer);
  DeleteFileA(path);
  return code;
}

int main(int argc, char **argv) {
  const char *name = strrchr(argv[0], '\\');
  return strnicmp(name ? name + 1 : argv[0], "findstr", 7) ? tool(argc, argv) : findstr(argc, argv);
}
