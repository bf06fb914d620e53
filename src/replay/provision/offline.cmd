@echo off
setlocal EnableExtensions DisableDelayedExpansion
rem Makes domains and accounts with the command line of an IceWarp server. Run it on the server, as Administrator:
rem   provision.cmd          domains, accounts, names, addresses, quotas
rem   provision.cmd finish   after the mail has been brought over: forwards, and accounts that are to be disabled
rem It looks before it writes and looks again afterwards, so it can be run as often as need be. TOOL names the server's tool, if it is not
rem the usual one. What the tool says is in provision.log; what no script can do, and the members of lists, is in by-hand.txt.
rem Passwords lie in secrets\ and go to the tool by the name of their file. Destroy secrets\, accounts.csv and webadmin-users.csv afterwards.
rem This file is UTF-8; if names come out garbled, the tool expects the console's own code page.
chcp 65001 >nul
cd /d "%~dp0"
if not defined TOOL set "TOOL=C:\Program Files\IceWarp\tool.exe"
if not exist "%TOOL%" goto no_tool
set failed=0
goto main

:there
"%TOOL%" get %1 %2 %3 2>nul <nul | findstr /i /b /c:"%~3" >nul
exit /b %errorlevel%

:make_domain
call :there domain %1 d_type
if "%errorlevel%"=="0" exit /b 0
"%TOOL%" create domain %1 >>provision.log 2>&1 <nul
call :there domain %1 d_type
if not "%errorlevel%"=="0" call :complain domain %1
exit /b 0

:make_mailbox
call :there account %1 u_type
if "%errorlevel%"=="0" exit /b 0
"%TOOL%" import account %2 u_password >>provision.log 2>&1 <nul
call :there account %1 u_type
if not "%errorlevel%"=="0" call :complain account %1
exit /b 0

:make_other
call :there account %1 u_type
if "%errorlevel%"=="0" exit /b 0
"%TOOL%" create account %1 u_type %2 >>provision.log 2>&1 <nul
call :there account %1 u_type
if not "%errorlevel%"=="0" call :complain account %1
exit /b 0

:want
"%TOOL%" set %1 %2 %3 %4 >>provision.log 2>&1 <nul
if "%errorlevel%"=="0" exit /b 0
"%TOOL%" modify %1 %2 %3 %4 >>provision.log 2>&1 <nul
if not "%errorlevel%"=="0" call :complain %3 of %2
exit /b 0

rem fill ACCOUNT VARIABLE VALUE: only where there is nothing yet.
:fill
"%TOOL%" get account %1 %2 2>nul <nul | findstr /i /x /c:"%~2:" /c:"%~2: " >nul
if "%errorlevel%"=="0" call :want account %1 %2 %3
exit /b 0

:complain
set /a failed+=1
echo NOT DONE: %*
echo NOT DONE: %* >>provision.log
exit /b 0

:no_tool
rem In no block of parentheses: a folder may have some in its name.
echo there is no "%TOOL%": name the server's tool in TOOL
exit /b 2

:end
if not "%failed%"=="0" goto exceptions
echo PASS: all is there
exit /b 0

:exceptions
echo PASS WITH EXCEPTIONS: %failed% not done
exit /b 1

:main
