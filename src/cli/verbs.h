/* cli/verbs.h - what the program can be told to do; see verb.def. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

/* Does the verb with the arguments that follow it; returns the exit status. */
typedef int verb_fn(int argc, char **argv);
int verb_run(int argc, char **argv);
int verb_ps(int argc, char **argv);
int verb_stop(int argc, char **argv);
int verb_screenshot(int argc, char **argv);
int verb_keys(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_completion(int argc, char **argv);
int verb_help(int argc, char **argv);
int verb_version(int argc, char **argv);
#endif
